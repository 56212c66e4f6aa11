// What every kernel may use, for nvcc and for the emulator alike.
//
// A source is compiled twice: T is float (HALO_F32) or bf16 (HALO_BF16), and KERNEL(name) is exported as name_f32 or name_bf16.
// Blocks are one-dimensional, their size a multiple of the warp's 32 threads.
#pragma once

#ifdef HALO_EMULATOR
#include "emulator.h"
#else
#include <cuda_bf16.h>
#include <math_constants.h>

typedef __nv_bfloat16 bf16;

static __device__ __forceinline__ float to_float(bf16 x) { return __bfloat162float(x); }
static __device__ __forceinline__ bf16 to_bf16(float x) { return __float2bfloat16_rn(x); }

// Two bf16 in one register: `lo` in the low half, which is the lower address.
static __device__ __forceinline__ unsigned pack_bf16(float lo, float hi) {
    __nv_bfloat162 pair = __floats2bfloat162_rn(lo, hi);
    return *reinterpret_cast<unsigned*>(&pair);
}

// d (16, 8) += a (16, 16) · b (16, 8) over one warp; fragments as PTX lays them out for m16n8k16.
static __device__ __forceinline__ void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Dynamic shared memory of the size that the launch gives.
#define SHARED(type, name)                                    \
    extern __shared__ __align__(16) unsigned char halo_shared[]; \
    type* name = reinterpret_cast<type*>(halo_shared)
#endif

#ifdef HALO_BF16
typedef bf16 T;
#define KERNEL(name) extern "C" __global__ void name##_bf16
#else
typedef float T;
#define KERNEL(name) extern "C" __global__ void name##_f32
#endif

static __device__ __forceinline__ float to_float(float x) { return x; }

// Rounds to nearest even where U is bf16.
template <class U> static __device__ __forceinline__ U from_float(float x);
template <> __device__ __forceinline__ float from_float<float>(float x) { return x; }
template <> __device__ __forceinline__ bf16 from_float<bf16>(float x) { return to_bf16(x); }

#define LANE (threadIdx.x % 32)
#define WARP (threadIdx.x / 32)

// The sum over a warp, in every lane, always in the same order.
static __device__ __forceinline__ float warp_sum(float x) {
    for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}

static __device__ __forceinline__ float warp_max(float x) {
    for (int step = 16; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
    return x;
}

// The sum over a block, in every thread; `partial` is shared memory of 32 floats, free again on return.
static __device__ __forceinline__ float block_sum(float x, float* partial) {
    x = warp_sum(x);
    if (LANE == 0) partial[WARP] = x;
    __syncthreads();
    x = 0.0f;
    for (unsigned warp = 0; warp < blockDim.x / 32; ++warp) x += partial[warp];
    __syncthreads();
    return x;
}

static __device__ __forceinline__ float block_max(float x, float* partial) {
    x = warp_max(x);
    if (LANE == 0) partial[WARP] = x;
    __syncthreads();
    x = partial[0];
    for (unsigned warp = 1; warp < blockDim.x / 32; ++warp) x = fmaxf(x, partial[warp]);
    __syncthreads();
    return x;
}
