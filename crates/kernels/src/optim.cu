// The optimiser over flat slices: gradient norm and AdamW.
//
// Floor: the norm reads sizeof(T) bytes an element, 2 operations. A step reads gradient, parameter and two moments and writes the
// last three, 28 bytes, and 2 more for the copy; about 12 operations, a root and a division. With 8-bit moments 16 bytes, and 2 for
// the copy; the search of the codes (two times 8 comparisons in shared memory) stays below what the memory takes.

// Elements of one partial sum of squares.
#define OPTIM_SPAN 16384

// The sum over a block, in every thread and always in the same order.
static __device__ __forceinline__ double optim_block_sum(double x, double* partial) {
    for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    if (LANE == 0) partial[WARP] = x;
    __syncthreads();
    x = 0.0;
    for (unsigned warp = 0; warp < blockDim.x / 32; ++warp) x += partial[warp];
    __syncthreads();
    return x;
}

// parts[block] = Σ x² of its span, in f64.
KERNEL(optim_squares)(const T* x, double* parts, size_t n) {
    __shared__ double partial[32];
    size_t first = size_t(blockIdx.x) * OPTIM_SPAN, end = min(first + OPTIM_SPAN, n);
    double sum = 0.0;
    for (size_t i = first + threadIdx.x; i < end; i += blockDim.x) {
        double value = to_float(x[i]);
        sum += value * value;
    }
    sum = optim_block_sum(sum, partial);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

// *out = Σ parts. One block.
KERNEL(optim_total)(const double* parts, double* out, unsigned count) {
    __shared__ double partial[32];
    double sum = 0.0;
    for (unsigned i = threadIdx.x; i < count; i += blockDim.x) sum += parts[i];
    sum = optim_block_sum(sum, partial);
    if (threadIdx.x == 0) *out = sum;
}

// One parameter's step with fresh moments; see optim.rs, whose `Update` the scalars are.
static __device__ __forceinline__ float optim_moved(float p, float m, float v, float keep, float step, float root, float eps) {
    return p * keep - step * (m / (sqrtf(v) * root + eps));
}

// AdamW on params, m, v (n); where `copy` is given, it gets the parameters as the model computes with them.
KERNEL(optim_step)(float* params, const float* grads, float* m, float* v, T* copy, float keep, float beta1, float rest1, float beta2,
                   float rest2, float step, float root, float eps, float grad_scale, size_t n) {
    size_t first = size_t(blockIdx.x) * 2048, end = min(first + 2048, n);
    for (size_t i = first + threadIdx.x; i < end; i += blockDim.x) {
        float g = grads[i] * grad_scale;
        float m_new = m[i] * beta1 + g * rest1;
        float v_new = v[i] * beta2 + g * g * rest2;
        m[i] = m_new;
        v[i] = v_new;
        float p = optim_moved(params[i], m_new, v_new, keep, step, root, eps);
        params[i] = p;
        if (copy) copy[i] = from_float<T>(p);
    }
}

// The code of x among the 256 ascending values of `map`: of the two around x the upper one where x lies at least `dither` of the
// way to it.
static __device__ __forceinline__ unsigned optim_encode(const float* map, float x, float dither) {
    unsigned low = 0;
    for (unsigned step = 128; step > 0; step /= 2)
        if (map[low + step] <= x) low += step;
    if (low == 255) return 255;
    return low + (x - map[low] >= dither * (map[low + 1] - map[low]) ? 1 : 0);
}

// Uniform in (0, 1), from the element and the step alone; the mixing is that of optim/eight_bit.rs.
static __device__ __forceinline__ float optim_dither(size_t element, unsigned t) {
    unsigned x = unsigned(element) ^ (unsigned(element >> 32) * 0x85ebca6bu) ^ (t * 0x9e3779b9u);
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    x ^= x >> 16;
    return (float(x >> 8) + 0.5f) * (1.0f / 16777216.0f);
}

// AdamW with moments in 8 bits: codes m and v (n) into `signed_map` and `unsigned_map` (256), scaled by m_max and v_max, one of each
// for 256 numbers. A block of 256 threads takes `spans` times 256 numbers, so that the maps are fetched seldom.
KERNEL(optim_step_eight_bit)(float* params, const float* grads, unsigned char* m, unsigned char* v, float* m_max, float* v_max,
                             const float* signed_map, const float* unsigned_map, T* copy, float keep, float beta1, float rest1,
                             float beta2, float rest2, float step, float root, float eps, float grad_scale, unsigned t,
                             unsigned spans, size_t n) {
    __shared__ float partial[32];
    __shared__ float signed_values[256];
    __shared__ float unsigned_values[256];
    signed_values[threadIdx.x] = signed_map[threadIdx.x];
    unsigned_values[threadIdx.x] = unsigned_map[threadIdx.x];
    __syncthreads();
    for (unsigned turn = 0; turn < spans; ++turn) {
        size_t span = size_t(blockIdx.x) * spans + turn;
        // The same for every thread of the block: nobody waits alone.
        if (span * 256 >= n) return;
        size_t i = span * 256 + threadIdx.x;
        bool inside = i < n;
        float m_new = 0.0f, v_new = 0.0f;
        if (inside) {
            float g = grads[i] * grad_scale;
            m_new = signed_values[m[i]] * m_max[span] * beta1 + g * rest1;
            v_new = unsigned_values[v[i]] * v_max[span] * beta2 + g * g * rest2;
            float p = optim_moved(params[i], m_new, v_new, keep, step, root, eps);
            params[i] = p;
            if (copy) copy[i] = from_float<T>(p);
        }
        // Behind these barriers nobody reads the old maxima any more.
        float m_top = block_max(fabsf(m_new), partial);
        float v_top = block_max(v_new, partial);
        if (threadIdx.x == 0) {
            m_max[span] = m_top;
            v_max[span] = v_top;
        }
        if (inside) {
            m[i] = static_cast<unsigned char>(optim_encode(signed_values, m_top > 0.0f ? m_new / m_top : 0.0f, 0.5f));
            unsigned code = optim_encode(unsigned_values, v_top > 0.0f ? v_new / v_top : 0.0f, optim_dither(i, t));
            v[i] = static_cast<unsigned char>(v_new > 0.0f && code == 0 ? 1 : code);
        }
    }
}
