// Attention of the newest token of each sequence over its cache, for generation; and the append of its key and value.
//
// A cache holds (rows, capacity, K·e); sequence r has row slots[r], `lengths[r]` tokens before the newest, and the newest after them.
// A block has one query head of one sequence. Its warps take the keys in turn, four at a time, each with an online softmax of its
// own; at the end they are merged in the order of the warps. The heads of a group are neighbouring blocks, which share the L2.
//
// Floor: every visible key and value is read once, 2·K·e elements a token of a cache; 4·e operations a key and query head:
// memory-bound.

#define ATTENTION_CACHED_KEYS 4
#define ATTENTION_CACHED_COLUMNS 8

// o (R, H, e) from q (R, H, e). Grid: R · H. Shared: warps · (e + 2) floats.
KERNEL(attention_cached)(const T* q, const T* k, const T* v, T* o, const unsigned* lengths, const unsigned* slots, size_t capacity,
                         unsigned heads, unsigned kv_heads, unsigned e, float scale, unsigned window) {
    SHARED(float, shared);
    unsigned sequence = blockIdx.x / heads, head = blockIdx.x % heads, warps = blockDim.x / 32;
    size_t width = size_t(kv_heads) * e, at = size_t(blockIdx.x) * e;
    size_t base = slots[sequence] * capacity * width + size_t(head / (heads / kv_heads)) * e;
    unsigned rows = lengths[sequence] + 1, first = rows > window ? rows - window : 0;
    float query[ATTENTION_CACHED_COLUMNS], sum[ATTENTION_CACHED_COLUMNS] = {}, most = -INFINITY, total = 0.0f;
#pragma unroll
    for (int c = 0; c < ATTENTION_CACHED_COLUMNS; ++c) {
        unsigned column = LANE + 32 * c;
        query[c] = column < e ? to_float(q[at + column]) * scale : 0.0f;
    }
    for (unsigned row = first + WARP * ATTENTION_CACHED_KEYS; row < rows; row += warps * ATTENTION_CACHED_KEYS) {
        float s[ATTENTION_CACHED_KEYS], peak = most;
#pragma unroll
        for (int i = 0; i < ATTENTION_CACHED_KEYS; ++i) {
            s[i] = 0.0f;
#pragma unroll
            for (int c = 0; c < ATTENTION_CACHED_COLUMNS; ++c) {
                unsigned column = LANE + 32 * c;
                if (row + i < rows && column < e) s[i] = fmaf(query[c], to_float(k[base + (row + i) * width + column]), s[i]);
            }
        }
#pragma unroll
        for (int i = 0; i < ATTENTION_CACHED_KEYS; ++i) {
            s[i] = warp_sum(s[i]);
            if (row + i >= rows) s[i] = -INFINITY;
            peak = fmaxf(peak, s[i]);
        }
        // The first of the four is always a key, so `peak` is finite.
        float shrink = expf(most - peak);
        most = peak;
        total *= shrink;
#pragma unroll
        for (int c = 0; c < ATTENTION_CACHED_COLUMNS; ++c) sum[c] *= shrink;
#pragma unroll
        for (int i = 0; i < ATTENTION_CACHED_KEYS; ++i) {
            float p = expf(s[i] - peak);
            total += p;
#pragma unroll
            for (int c = 0; c < ATTENTION_CACHED_COLUMNS; ++c) {
                unsigned column = LANE + 32 * c;
                if (row + i < rows && column < e) sum[c] = fmaf(p, to_float(v[base + (row + i) * width + column]), sum[c]);
            }
        }
    }
    float* own = shared + WARP * (e + 2);
#pragma unroll
    for (int c = 0; c < ATTENTION_CACHED_COLUMNS; ++c) {
        unsigned column = LANE + 32 * c;
        if (column < e) own[column] = sum[c];
    }
    if (LANE == 0) {
        own[e] = most;
        own[e + 1] = total;
    }
    __syncthreads();
    float peak = -INFINITY, all = 0.0f;
    for (unsigned warp = 0; warp < warps; ++warp) peak = fmaxf(peak, shared[warp * (e + 2) + e]);
    // A warp without keys has the maximum −∞ and the weight 0.
    for (unsigned warp = 0; warp < warps; ++warp) all += shared[warp * (e + 2) + e + 1] * expf(shared[warp * (e + 2) + e] - peak);
    for (unsigned column = threadIdx.x; column < e; column += blockDim.x) {
        float x = 0.0f;
        for (unsigned warp = 0; warp < warps; ++warp) x += shared[warp * (e + 2) + column] * expf(shared[warp * (e + 2) + e] - peak);
        o[at + column] = from_float<T>(x / all);
    }
}

// Writes k and v (R, width) behind the `lengths` tokens of each sequence's cache. Grid: R. Floor: 4·sizeof(T) bytes a column.
KERNEL(attention_append)(const T* k, const T* v, T* cache_k, T* cache_v, const unsigned* lengths, const unsigned* slots, size_t capacity,
                         size_t width) {
    size_t to = (slots[blockIdx.x] * capacity + lengths[blockIdx.x]) * width, from = blockIdx.x * width;
    for (size_t i = threadIdx.x; i < width; i += blockDim.x) {
        cache_k[to + i] = k[from + i];
        cache_v[to + i] = v[from + i];
    }
}
