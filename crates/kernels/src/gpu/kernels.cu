// Every kernel, in one translation unit for each T.
#include "device.cuh"

#include "../attention/backward.cu"
#include "../attention/cached.cu"
#include "../attention/forward.cu"
#include "../attention/plain.cu"
#include "../rms_norm.cu"
