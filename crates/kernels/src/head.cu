// The log-probability head: what lies between its matrix products. A chunk of rows of logits (c, V) in f32, one block a row.
//
// An entry m scores token targets[m]. Row r of a chunk serves the entries order[starts[r]..starts[r + 1]]; rows are distinct.
//
// Floor a logit: the product writes 4 bytes; `head_softmax` reads them (8 bytes with the softmax, of which the second read of a row
// comes from the cache, and writes sizeof(T)); 2 exponentials. The products, 2·D operations a logit each, take far longer.

struct HeadSum {
    float max, sum;
};

// The sums of two parts of one row, brought to the larger maximum.
static __device__ __forceinline__ HeadSum head_merge(HeadSum a, HeadSum b) {
    float top = fmaxf(a.max, b.max);
    // Two empty parts: their difference would be no number.
    if (top == -INFINITY) return HeadSum{top, 0.0f};
    return HeadSum{top, a.sum * expf(a.max - top) + b.sum * expf(b.max - top)};
}

// lse of one row, in every thread; one pass.
static __device__ __forceinline__ float head_log_sum_exp(const float* z, unsigned v, float* maxima, float* sums) {
    HeadSum own{-INFINITY, 0.0f};
    for (unsigned i = threadIdx.x; i < v; i += blockDim.x) {
        float x = z[i];
        if (x > own.max) {
            own.sum = own.sum * expf(own.max - x) + 1.0f;
            own.max = x;
        } else {
            own.sum += expf(x - own.max);
        }
    }
    for (int step = 16; step > 0; step /= 2) {
        HeadSum other;
        other.max = __shfl_xor_sync(0xffffffffu, own.max, step);
        other.sum = __shfl_xor_sync(0xffffffffu, own.sum, step);
        own = head_merge(own, other);
    }
    if (LANE == 0) {
        maxima[WARP] = own.max;
        sums[WARP] = own.sum;
    }
    __syncthreads();
    HeadSum all{maxima[0], sums[0]};
    for (unsigned warp = 1; warp < blockDim.x / 32; ++warp) all = head_merge(all, HeadSum{maxima[warp], sums[warp]});
    return all.max + logf(all.sum);
}

// logps (M) and lse (M) of the entries from z (c, V); where `p` (c, V) is given, the softmax.
KERNEL(head_softmax)(const float* z, const unsigned* starts, const unsigned* order, const unsigned* targets, float* logps, float* lse,
                     T* p, unsigned v) {
    __shared__ float maxima[32];
    __shared__ float sums[32];
    size_t row = size_t(blockIdx.x) * v;
    float total = head_log_sum_exp(z + row, v, maxima, sums);
    for (unsigned at = starts[blockIdx.x] + threadIdx.x; at < starts[blockIdx.x + 1]; at += blockDim.x) {
        unsigned m = order[at];
        lse[m] = total;
        logps[m] = z[row + targets[m]] - total;
    }
    if (!p) return;
    for (unsigned i = threadIdx.x; i < v; i += blockDim.x) p[row + i] = from_float<T>(expf(z[row + i] - total));
}

// stored (M, D) = W[y] − softmax·W, the latter from mean (c, D). One block a row.
KERNEL(head_stored)(const float* mean, const T* w, const unsigned* starts, const unsigned* order, const unsigned* targets, T* stored,
                    unsigned d) {
    const float* own = mean + size_t(blockIdx.x) * d;
    for (unsigned at = starts[blockIdx.x]; at < starts[blockIdx.x + 1]; ++at) {
        unsigned m = order[at];
        const T* word = w + size_t(targets[m]) * d;
        for (unsigned i = threadIdx.x; i < d; i += blockDim.x) stored[size_t(m) * d + i] = from_float<T>(to_float(word[i]) - own[i]);
    }
}

// out (M) = ln Σ exp(z − lse)² of z (c, V).
KERNEL(head_collisions)(const float* z, const unsigned* starts, const unsigned* order, const float* lse, float* out, unsigned v) {
    __shared__ float partial[32];
    size_t row = size_t(blockIdx.x) * v;
    float total = lse[order[starts[blockIdx.x]]];
    float sum = 0.0f;
    for (unsigned i = threadIdx.x; i < v; i += blockDim.x) sum += expf(2.0f * (z[row + i] - total));
    sum = logf(block_sum(sum, partial));
    for (unsigned at = starts[blockIdx.x] + threadIdx.x; at < starts[blockIdx.x + 1]; at += blockDim.x) out[order[at]] = sum;
}

// dhidden (N, D) += Σ dlogps·stored over a row's entries, in f32, rounded once. A block owns a row's columns.
KERNEL(head_frozen)(const T* stored, const float* dlogps, const unsigned* rows, const unsigned* starts, const unsigned* order,
                    T* dhidden, unsigned d) {
    unsigned column = blockIdx.y * blockDim.x + threadIdx.x;
    if (column >= d) return;
    T* to = dhidden + size_t(rows[blockIdx.x]) * d + column;
    float sum = to_float(*to);
    for (unsigned at = starts[blockIdx.x]; at < starts[blockIdx.x + 1]; ++at) {
        unsigned m = order[at];
        sum = fmaf(dlogps[m], to_float(stored[size_t(m) * d + column]), sum);
    }
    *to = from_float<T>(sum);
}

// dz (c, V) = Σ over a row's entries of dlogp·(δ_target − softmax), from z (c, V) and the saved lse (M).
KERNEL(head_dlogits)(const float* z, const unsigned* starts, const unsigned* order, const unsigned* targets, const float* lse,
                     const float* dlogps, T* dz, unsigned v) {
    size_t row = size_t(blockIdx.x) * v;
    unsigned first = starts[blockIdx.x], end = starts[blockIdx.x + 1];
    float own = lse[order[first]];
    float total = 0.0f;
    for (unsigned at = first; at < end; ++at) total += dlogps[order[at]];
    for (unsigned i = threadIdx.x; i < v; i += blockDim.x) dz[row + i] = from_float<T>(-total * expf(z[row + i] - own));
    __syncthreads();
    // A target's element is written again, rounded once; entries with the same target write the same.
    for (unsigned at = first + threadIdx.x; at < end; at += blockDim.x) {
        unsigned y = targets[order[at]];
        float hits = 0.0f;
        for (unsigned other = first; other < end; ++other)
            if (targets[order[other]] == y) hits += dlogps[order[other]];
        dz[row + y] = from_float<T>(hits - total * expf(z[row + y] - own));
    }
}

// The rows `rows` of dhidden (N, D) += dh (c, D). One block a row; rows are distinct.
KERNEL(head_scatter)(const float* dh, const unsigned* rows, T* dhidden, unsigned d) {
    T* to = dhidden + size_t(rows[blockIdx.x]) * d;
    for (unsigned i = threadIdx.x; i < d; i += blockDim.x) to[i] = from_float<T>(to_float(to[i]) + dh[size_t(blockIdx.x) * d + i]);
}
