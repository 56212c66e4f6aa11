// Every kernel, in one translation unit for each T.
#include "device.cuh"

#include "../rms_norm.cu"
