// Attention without tensor cores: f32, and every head dimension up to 256 in either type. Also D = rowsum(dO ∘ O) of both forms.
//
// A warp owns four rows; the rows of the other side come 32 at a time through shared memory. For scores a lane has one of the 32,
// for sums it has every 32nd column; the weights change hands in shared memory. Rows in shared memory have an odd length, so that
// both ways of reading them are free of bank conflicts. Which of the other side's rows count, and in which order, is as in
// forward.cu and backward.cu.
//
// Floor: bytes as there; the same operations, on the FMA units: 4·E forward and 14·E backward a visible pair and head.
#include "tile.cuh"

// Rows of one head to shared memory (count, stride), zeros from `rows` on.
static __device__ __forceinline__ void attention_plain_fetch(float* tile, const T* source, size_t width, unsigned count, unsigned rows,
                                                             unsigned e, unsigned stride) {
    for (unsigned i = threadIdx.x; i < count * e; i += blockDim.x) {
        unsigned row = i / e, column = i % e;
        tile[row * stride + column] = row < rows ? to_float(source[row * width + column]) : 0.0f;
    }
}

// s[r] = row r of `owned` · row LANE of `streamed`.
static __device__ __forceinline__ void attention_plain_scores(float (&s)[4], const float* owned, const float* streamed, unsigned e,
                                                              unsigned stride) {
    for (int r = 0; r < 4; ++r) s[r] = 0.0f;
    for (unsigned i = 0; i < e; ++i) {
        float x = streamed[LANE * stride + i];
#pragma unroll
        for (int r = 0; r < 4; ++r) s[r] = fmaf(owned[r * stride + i], x, s[r]);
    }
}

// sum[r] += Σ over `rows` streamed rows of weights (4, 32) times the row.
template <int C>
static __device__ __forceinline__ void attention_plain_weigh(float (&sum)[4][C], const float* weights, const float* streamed, unsigned rows,
                                                             unsigned e, unsigned stride) {
    for (unsigned row = 0; row < rows; ++row) {
#pragma unroll
        for (int c = 0; c < C; ++c) {
            unsigned column = LANE + 32 * c;
            float x = column < e ? streamed[row * stride + column] : 0.0f;
#pragma unroll
            for (int r = 0; r < 4; ++r) sum[r][c] = fmaf(weights[r * 32 + row], x, sum[r][c]);
        }
    }
}

// This warp's rows of `sum` times a factor, to one head of `to`.
template <int C>
static __device__ __forceinline__ void attention_plain_store(T* to, const float (&sum)[4][C], const float (&factor)[4], size_t width,
                                                             unsigned rows, unsigned e) {
#pragma unroll
    for (int r = 0; r < 4; ++r) {
        unsigned row = WARP * 4 + r;
#pragma unroll
        for (int c = 0; c < C; ++c) {
            unsigned column = LANE + 32 * c;
            if (row < rows && column < e) to[row * width + column] = from_float<T>(sum[r][c] * factor[r]);
        }
    }
}

// Cuts a plan's tile of 64 rows into shares of 4 rows a warp; false if this one is empty.
static __device__ __forceinline__ bool attention_plain_share(AttentionTile& tile, const AttentionTile* tiles, unsigned index) {
    unsigned own = blockDim.x / 8, shares = 64 / own, first = index % shares * own;
    tile = tiles[index / shares];
    if (first >= tile.rows) return false;
    tile.row += first;
    tile.rows = min(tile.rows - first, own);
    tile.position += first;
    return true;
}

template <int C>
static __device__ __forceinline__ void attention_plain_forward_tile(float* shared, const T* q, const T* k, const T* v, T* o, float* lse,
                                                                    AttentionTile tile, unsigned head, const AttentionPart* parts,
                                                                    unsigned heads, unsigned kv_heads, unsigned e, float scale,
                                                                    unsigned window) {
    unsigned own = blockDim.x / 8, stride = e | 1;
    float* queries = shared;                              // (own, stride)
    float* streamed = queries + own * stride;             // (32, stride): keys, then values
    float* weights = streamed + 32 * stride + WARP * 128; // (4, 32) of this warp
    size_t q_width = size_t(heads) * e, kv_width = size_t(kv_heads) * e;
    size_t q_at = tile.row * q_width + size_t(head) * e, kv_at = size_t(head / (heads / kv_heads)) * e;
    attention_plain_fetch(queries, q + q_at, q_width, own, tile.rows, e, stride);

    float sum[4][C] = {}, most[4], total[4] = {};
    for (int r = 0; r < 4; ++r) most[r] = -INFINITY;
    AttentionWalk<32> walk(parts, tile.begin, tile.end, 1);
    AttentionPart now;
    unsigned round;
    while (walk.next(now, round)) {
        size_t at = now.row * kv_width + kv_at;
        attention_plain_fetch(streamed, k + at, kv_width, 32, now.rows, e, stride);
        __syncthreads();
        float s[4];
        attention_plain_scores(s, queries + WARP * 4 * stride, streamed, e, stride);
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            bool seen = LANE < now.rows && attention_visible(tile.position + WARP * 4 + r, now.position + LANE, window);
            float x = seen ? s[r] * scale : -INFINITY;
            float peak = fmaxf(most[r], warp_max(x));
            // A row that has seen no key yet has no maximum: −∞ − −∞ is NaN.
            float base = peak == -INFINITY ? 0.0f : peak;
            float shrink = expf(most[r] - base), p = expf(x - base);
            most[r] = peak;
            total[r] = total[r] * shrink + p;
            weights[r * 32 + LANE] = p;
#pragma unroll
            for (int c = 0; c < C; ++c) sum[r][c] *= shrink;
        }
        __syncthreads();
        attention_plain_fetch(streamed, v + at, kv_width, 32, now.rows, e, stride);
        __syncthreads();
        attention_plain_weigh<C>(sum, weights, streamed, now.rows, e, stride);
        __syncthreads();
    }
    float inverse[4];
#pragma unroll
    for (int r = 0; r < 4; ++r) {
        float all = warp_sum(total[r]);
        inverse[r] = 1.0f / all;
        unsigned row = WARP * 4 + r;
        if (LANE == 0 && row < tile.rows) lse[size_t(tile.row + row) * heads + head] = most[r] + logf(all);
    }
    attention_plain_store<C>(o + q_at, sum, inverse, q_width, tile.rows, e);
}

template <int C>
static __device__ __forceinline__ void attention_plain_key_tile(float* shared, const T* q, const T* k, const T* v, const T* d_o, const float* lse,
                                                                const float* delta, T* dk, T* dv, AttentionTile tile, unsigned kv_head,
                                                                const AttentionPart* parts, unsigned heads, unsigned kv_heads, unsigned e,
                                                                float scale, unsigned window) {
    unsigned own = blockDim.x / 8, stride = e | 1, group = heads / kv_heads;
    float* keys = shared;                                  // (own, stride)
    float* values = keys + own * stride;                   // (own, stride)
    float* queries = values + own * stride;                // (32, stride)
    float* gradients = queries + 32 * stride;              // (32, stride)
    float* weights = gradients + 32 * stride + WARP * 256; // P (4, 32) and dS (4, 32) of this warp
    size_t q_width = size_t(heads) * e, kv_width = size_t(kv_heads) * e;
    size_t kv_at = tile.row * kv_width + size_t(kv_head) * e;
    attention_plain_fetch(keys, k + kv_at, kv_width, own, tile.rows, e, stride);
    attention_plain_fetch(values, v + kv_at, kv_width, own, tile.rows, e, stride);

    float dk_sum[4][C] = {}, dv_sum[4][C] = {};
    AttentionWalk<32> walk(parts, tile.begin, tile.end, group);
    AttentionPart now;
    unsigned round;
    while (walk.next(now, round)) {
        unsigned head = kv_head * group + round;
        size_t at = now.row * q_width + size_t(head) * e;
        attention_plain_fetch(queries, q + at, q_width, 32, now.rows, e, stride);
        attention_plain_fetch(gradients, d_o + at, q_width, 32, now.rows, e, stride);
        bool inside = LANE < now.rows;
        size_t row = size_t(now.row + LANE) * heads + head;
        float base = inside ? lse[row] : 0.0f, d = inside ? delta[row] : 0.0f;
        __syncthreads();
        float s[4], dp[4];
        attention_plain_scores(s, keys + WARP * 4 * stride, queries, e, stride);
        attention_plain_scores(dp, values + WARP * 4 * stride, gradients, e, stride);
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            bool seen = inside && attention_visible(now.position + LANE, tile.position + WARP * 4 + r, window);
            float p = seen ? expf(s[r] * scale - base) : 0.0f;
            weights[r * 32 + LANE] = p;
            weights[128 + r * 32 + LANE] = p * (dp[r] - d);
        }
        __syncwarp();
        attention_plain_weigh<C>(dv_sum, weights, gradients, now.rows, e, stride);
        attention_plain_weigh<C>(dk_sum, weights + 128, queries, now.rows, e, stride);
        __syncthreads();
    }
    const float one[4] = {1.0f, 1.0f, 1.0f, 1.0f}, scales[4] = {scale, scale, scale, scale};
    attention_plain_store<C>(dv + kv_at, dv_sum, one, kv_width, tile.rows, e);
    attention_plain_store<C>(dk + kv_at, dk_sum, scales, kv_width, tile.rows, e);
}

template <int C>
static __device__ __forceinline__ void attention_plain_query_tile(float* shared, const T* q, const T* k, const T* v, const T* d_o, const float* lse,
                                                                  const float* delta, T* dq, AttentionTile tile, unsigned head,
                                                                  const AttentionPart* parts, unsigned heads, unsigned kv_heads, unsigned e,
                                                                  float scale, unsigned window) {
    unsigned own = blockDim.x / 8, stride = e | 1;
    float* queries = shared;                            // (own, stride)
    float* gradients = queries + own * stride;          // (own, stride)
    float* keys = gradients + own * stride;             // (32, stride)
    float* values = keys + 32 * stride;                 // (32, stride)
    float* weights = values + 32 * stride + WARP * 128; // dS (4, 32) of this warp
    size_t q_width = size_t(heads) * e, kv_width = size_t(kv_heads) * e;
    size_t q_at = tile.row * q_width + size_t(head) * e, kv_at = size_t(head / (heads / kv_heads)) * e;
    attention_plain_fetch(queries, q + q_at, q_width, own, tile.rows, e, stride);
    attention_plain_fetch(gradients, d_o + q_at, q_width, own, tile.rows, e, stride);

    float sum[4][C] = {}, base[4], d[4];
#pragma unroll
    for (int r = 0; r < 4; ++r) {
        unsigned row = WARP * 4 + r;
        size_t at = size_t(tile.row + row) * heads + head;
        base[r] = row < tile.rows ? lse[at] : 0.0f;
        d[r] = row < tile.rows ? delta[at] : 0.0f;
    }
    AttentionWalk<32> walk(parts, tile.begin, tile.end, 1);
    AttentionPart now;
    unsigned round;
    while (walk.next(now, round)) {
        size_t at = now.row * kv_width + kv_at;
        attention_plain_fetch(keys, k + at, kv_width, 32, now.rows, e, stride);
        attention_plain_fetch(values, v + at, kv_width, 32, now.rows, e, stride);
        __syncthreads();
        float s[4], dp[4];
        attention_plain_scores(s, queries + WARP * 4 * stride, keys, e, stride);
        attention_plain_scores(dp, gradients + WARP * 4 * stride, values, e, stride);
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            bool seen = LANE < now.rows && attention_visible(tile.position + WARP * 4 + r, now.position + LANE, window);
            float p = seen ? expf(s[r] * scale - base[r]) : 0.0f;
            weights[r * 32 + LANE] = p * (dp[r] - d[r]);
        }
        __syncwarp();
        attention_plain_weigh<C>(sum, weights, keys, now.rows, e, stride);
        __syncthreads();
    }
    const float scales[4] = {scale, scale, scale, scale};
    attention_plain_store<C>(dq + q_at, sum, scales, q_width, tile.rows, e);
}

// o (N, H, e), lse (N, H) from q (N, H, e), k and v (N, K, e). Grid: query tiles · shares · H.
// Shared: (own + 32)·(e | 1) + own·32 floats, where own = blockDim.x / 8.
KERNEL(attention_forward)(const T* q, const T* k, const T* v, T* o, float* lse, const AttentionTile* tiles, const AttentionPart* parts,
                          unsigned heads, unsigned kv_heads, unsigned e, float scale, unsigned window) {
    SHARED(float, shared);
    AttentionTile tile;
    unsigned head = blockIdx.x % heads;
    if (!attention_plain_share(tile, tiles, blockIdx.x / heads)) return;
    if (e <= 128) {
        attention_plain_forward_tile<4>(shared, q, k, v, o, lse, tile, head, parts, heads, kv_heads, e, scale, window);
    } else {
        attention_plain_forward_tile<8>(shared, q, k, v, o, lse, tile, head, parts, heads, kv_heads, e, scale, window);
    }
}

// dk and dv (N, K, e). Grid: key tiles · shares · K. Shared: (2·own + 64)·(e | 1) + own·64 floats.
KERNEL(attention_backward_keys)(const T* q, const T* k, const T* v, const T* d_o, const float* lse, const float* delta, T* dk, T* dv,
                                const AttentionTile* tiles, const AttentionPart* parts, unsigned heads, unsigned kv_heads, unsigned e,
                                float scale, unsigned window) {
    SHARED(float, shared);
    AttentionTile tile;
    unsigned head = blockIdx.x % kv_heads;
    if (!attention_plain_share(tile, tiles, blockIdx.x / kv_heads)) return;
    if (e <= 128) {
        attention_plain_key_tile<4>(shared, q, k, v, d_o, lse, delta, dk, dv, tile, head, parts, heads, kv_heads, e, scale, window);
    } else {
        attention_plain_key_tile<8>(shared, q, k, v, d_o, lse, delta, dk, dv, tile, head, parts, heads, kv_heads, e, scale, window);
    }
}

// dq (N, H, e). Grid: query tiles · shares · H. Shared: (2·own + 64)·(e | 1) + own·32 floats.
KERNEL(attention_backward_queries)(const T* q, const T* k, const T* v, const T* d_o, const float* lse, const float* delta, T* dq,
                                   const AttentionTile* tiles, const AttentionPart* parts, unsigned heads, unsigned kv_heads, unsigned e,
                                   float scale, unsigned window) {
    SHARED(float, shared);
    AttentionTile tile;
    unsigned head = blockIdx.x % heads;
    if (!attention_plain_share(tile, tiles, blockIdx.x / heads)) return;
    if (e <= 128) {
        attention_plain_query_tile<4>(shared, q, k, v, d_o, lse, delta, dq, tile, head, parts, heads, kv_heads, e, scale, window);
    } else {
        attention_plain_query_tile<8>(shared, q, k, v, d_o, lse, delta, dq, tile, head, parts, heads, kv_heads, e, scale, window);
    }
}

// delta (rows) = rowsum(dO ∘ O) over rows (rows, e), where rows = N·H; one warp a row.
KERNEL(attention_delta)(const T* o, const T* d_o, float* delta, size_t rows, unsigned e) {
    size_t row = size_t(blockIdx.x) * (blockDim.x / 32) + WARP;
    if (row >= rows) return;
    float sum = 0.0f;
    for (unsigned i = LANE; i < e; i += 32) sum = fmaf(to_float(o[row * e + i]), to_float(d_o[row * e + i]), sum);
    sum = warp_sum(sum);
    if (LANE == 0) delta[row] = sum;
}
