// Every kernel, in one translation unit for each T.
#include "device.cuh"

#include "../rms_norm.cu"
#include "../bias.cu"
#include "../elementwise.cu"
#include "../embedding.cu"
#include "../head.cu"
#include "../optim.cu"
#include "../rope.cu"
#include "../swiglu.cu"
