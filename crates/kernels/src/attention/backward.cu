// Attention backward through the tensor cores: bf16, head dimension a multiple of 8 up to 128. Deterministic, no atomics.
//
// With the log-sum-exp of the whole row and D = rowsum(dO ∘ O), every (query tile, key tile) pair stands alone:
//   P = exp(scale·QKᵀ − lse);  dV += Pᵀ dO;  dS = P ∘ (dO Vᵀ − D);  dQ += scale·dS K;  dK += scale·dSᵀ Q.
// Two kernels, each owning what it writes: one walks the readers of a key tile over the query heads of the group, one the keys of
// a query tile. A block owns 64 rows, a warp 16 of them; the rows of the other side come 32 at a time, the next ones while these
// are worked on. The scores are formed with the owned rows on the left, so that they are fragments of the second product.
// See Dao, "FlashAttention-2", arXiv:2307.08691, algorithm 2.
//
// Floor: 14·E operations a visible (query, key) pair and head here, for the 10·E of a kernel with atomics; bytes as forward, four
// times over: bound by the tensor cores.
#include "tile.cuh"

#ifdef HALO_BF16
// P of four scores, and dS in the place of dP.
static __device__ __forceinline__ void attention_backward_entry(float& s, float& dp, bool seen, float factor, float lse, float delta) {
    s = seen ? exp2f(s * factor - lse) : 0.0f;
    dp = s * (dp - delta);
}

// dk and dv (N, K, e) of one key tile.
template <int E>
static __device__ __forceinline__ void attention_backward_key_tile(bf16* shared, const bf16* q, const bf16* k, const bf16* v, const bf16* d_o,
                                                                   const float* lse, const float* delta, bf16* dk, bf16* dv,
                                                                   const AttentionTile* tiles, const AttentionPart* parts, unsigned heads,
                                                                   unsigned kv_heads, unsigned e, float scale, unsigned window) {
    constexpr unsigned STRIDE = E + 8, QUERIES = 32;
    bf16* keys = shared;                    // (64, STRIDE)
    bf16* values = keys + 64 * STRIDE;      // (64, STRIDE)
    bf16* streamed = values + 64 * STRIDE;  // 2 stages of q (32, STRIDE) and dO (32, STRIDE)
    float* rows = reinterpret_cast<float*>(streamed + 4 * QUERIES * STRIDE); // 2 stages of lse (32) in units of ln 2 and D (32)
    AttentionTile tile = tiles[blockIdx.x / kv_heads];
    unsigned kv_head = blockIdx.x % kv_heads, group = heads / kv_heads;
    size_t q_width = size_t(heads) * e, kv_width = size_t(kv_heads) * e;
    size_t kv_at = tile.row * kv_width + size_t(kv_head) * e;

    auto fetch = [&](unsigned stage, const AttentionPart& piece, unsigned round) {
        unsigned head = kv_head * group + round;
        size_t at = piece.row * q_width + size_t(head) * e;
        bf16* to = streamed + stage * 2 * QUERIES * STRIDE;
        attention_fetch<E, QUERIES>(to, q + at, q_width, piece.rows, e);
        attention_fetch<E, QUERIES>(to + QUERIES * STRIDE, d_o + at, q_width, piece.rows, e);
        if (threadIdx.x < QUERIES) {
            bool inside = threadIdx.x < piece.rows;
            size_t row = size_t(piece.row + threadIdx.x) * heads + head;
            rows[stage * 2 * QUERIES + threadIdx.x] = inside ? lse[row] * ATTENTION_LOG2E : 0.0f;
            rows[(stage * 2 + 1) * QUERIES + threadIdx.x] = inside ? delta[row] : 0.0f;
        }
    };

    float dk_sum[E / 8][4] = {}, dv_sum[E / 8][4] = {};
    float factor = scale * ATTENTION_LOG2E;
    unsigned first = tile.position + WARP * 16 + LANE / 4;
    AttentionWalk<QUERIES> walk(parts, tile.begin, tile.end, group);
    AttentionPart now, next;
    unsigned round, stage = 0;
    attention_fetch<E, 64>(keys, k + kv_at, kv_width, tile.rows, e);
    attention_fetch<E, 64>(values, v + kv_at, kv_width, tile.rows, e);
    bool more = walk.next(now, round);
    if (more) fetch(stage, now, round);
    attention_commit();
    while (more) {
        more = walk.next(next, round);
        if (more) fetch(stage ^ 1, next, round);
        attention_commit();
        attention_wait<1>();
        __syncthreads();
        const bf16* queries = streamed + stage * 2 * QUERIES * STRIDE;
        const bf16* gradients = queries + QUERIES * STRIDE;
        float s[QUERIES / 8][4] = {}, dp[QUERIES / 8][4] = {}; // (keys, queries)
        attention_scores<E, QUERIES / 16>(s, keys + WARP * 16 * STRIDE, queries);
        attention_scores<E, QUERIES / 16>(dp, values + WARP * 16 * STRIDE, gradients);
#pragma unroll
        for (int i = 0; i < int(QUERIES) / 8; ++i) {
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                unsigned query = i * 8 + LANE % 4 * 2 + j % 2;
                bool seen = query < now.rows && attention_visible(now.position + query, first + j / 2 * 8, window);
                const float* row = rows + stage * 2 * QUERIES + query;
                attention_backward_entry(s[i][j], dp[i][j], seen, factor, row[0], row[QUERIES]);
            }
        }
        attention_weigh<E, QUERIES / 16>(dv_sum, s, gradients);
        attention_weigh<E, QUERIES / 16>(dk_sum, dp, queries);
        __syncthreads();
        now = next;
        stage ^= 1;
    }
    const float one[2] = {1.0f, 1.0f}, scales[2] = {scale, scale};
    attention_store<E>(dv + kv_at, dv_sum, one, kv_width, tile.rows, e);
    attention_store<E>(dk + kv_at, dk_sum, scales, kv_width, tile.rows, e);
}

// dq (N, H, e) of one query tile.
template <int E>
static __device__ __forceinline__ void attention_backward_query_tile(bf16* shared, const bf16* q, const bf16* k, const bf16* v, const bf16* d_o,
                                                                     const float* lse, const float* delta, bf16* dq,
                                                                     const AttentionTile* tiles, const AttentionPart* parts, unsigned heads,
                                                                     unsigned kv_heads, unsigned e, float scale, unsigned window) {
    constexpr unsigned STRIDE = E + 8, KEYS = 32;
    bf16* queries = shared;                   // (64, STRIDE)
    bf16* gradients = queries + 64 * STRIDE;  // (64, STRIDE)
    bf16* streamed = gradients + 64 * STRIDE; // 2 stages of k (32, STRIDE) and v (32, STRIDE)
    AttentionTile tile = tiles[blockIdx.x / heads];
    unsigned head = blockIdx.x % heads, kv_head = head / (heads / kv_heads);
    size_t q_width = size_t(heads) * e, kv_width = size_t(kv_heads) * e;
    size_t q_at = tile.row * q_width + size_t(head) * e;
    k += size_t(kv_head) * e;
    v += size_t(kv_head) * e;

    auto fetch = [&](unsigned stage, const AttentionPart& piece) {
        bf16* to = streamed + stage * 2 * KEYS * STRIDE;
        attention_fetch<E, KEYS>(to, k + piece.row * kv_width, kv_width, piece.rows, e);
        attention_fetch<E, KEYS>(to + KEYS * STRIDE, v + piece.row * kv_width, kv_width, piece.rows, e);
    };

    float sum[E / 8][4] = {}, base[2], own[2]; // lse in units of ln 2 and D of this lane's two rows
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        unsigned row = WARP * 16 + LANE / 4 + half * 8;
        size_t at = size_t(tile.row + row) * heads + head;
        base[half] = row < tile.rows ? lse[at] * ATTENTION_LOG2E : 0.0f;
        own[half] = row < tile.rows ? delta[at] : 0.0f;
    }
    float factor = scale * ATTENTION_LOG2E;
    unsigned first = tile.position + WARP * 16 + LANE / 4;
    AttentionWalk<KEYS> walk(parts, tile.begin, tile.end, 1);
    AttentionPart now, next;
    unsigned round, stage = 0;
    attention_fetch<E, 64>(queries, q + q_at, q_width, tile.rows, e);
    attention_fetch<E, 64>(gradients, d_o + q_at, q_width, tile.rows, e);
    bool more = walk.next(now, round);
    if (more) fetch(stage, now);
    attention_commit();
    while (more) {
        more = walk.next(next, round);
        if (more) fetch(stage ^ 1, next);
        attention_commit();
        attention_wait<1>();
        __syncthreads();
        const bf16* keys = streamed + stage * 2 * KEYS * STRIDE;
        float s[KEYS / 8][4] = {}, dp[KEYS / 8][4] = {}; // (queries, keys)
        attention_scores<E, KEYS / 16>(s, queries + WARP * 16 * STRIDE, keys);
        attention_scores<E, KEYS / 16>(dp, gradients + WARP * 16 * STRIDE, keys + KEYS * STRIDE);
#pragma unroll
        for (int i = 0; i < int(KEYS) / 8; ++i) {
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                unsigned key = i * 8 + LANE % 4 * 2 + j % 2;
                bool seen = key < now.rows && attention_visible(first + j / 2 * 8, now.position + key, window);
                attention_backward_entry(s[i][j], dp[i][j], seen, factor, base[j / 2], own[j / 2]);
            }
        }
        attention_weigh<E, KEYS / 16>(sum, dp, keys);
        __syncthreads();
        now = next;
        stage ^= 1;
    }
    const float scales[2] = {scale, scale};
    attention_store<E>(dq + q_at, sum, scales, q_width, tile.rows, e);
}

#endif

// Grid: key tiles · K. Shared: (2·64 + 4·32)·(E + 8) elements and 128 floats.
#define ATTENTION_BACKWARD_KEYS(E)                                                                                          \
    (const T* q, const T* k, const T* v, const T* d_o, const float* lse, const float* delta, T* dk, T* dv,                  \
     const AttentionTile* tiles, const AttentionPart* parts, unsigned heads, unsigned kv_heads, unsigned e, float scale,    \
     unsigned window) {                                                                                                     \
        ATTENTION_TENSOR(SHARED(bf16, shared); attention_backward_key_tile<E>(shared, q, k, v, d_o, lse, delta, dk, dv, tiles,\
                         parts, heads, kv_heads, e, scale, window);)                                                        \
    }
KERNEL(attention_backward_keys_64) ATTENTION_BACKWARD_KEYS(64)
KERNEL(attention_backward_keys_96) ATTENTION_BACKWARD_KEYS(96)
KERNEL(attention_backward_keys_128) ATTENTION_BACKWARD_KEYS(128)

// Grid: query tiles · H. Shared: (2·64 + 4·32)·(E + 8) elements.
#define ATTENTION_BACKWARD_QUERIES(E)                                                                                       \
    (const T* q, const T* k, const T* v, const T* d_o, const float* lse, const float* delta, T* dq,                         \
     const AttentionTile* tiles, const AttentionPart* parts, unsigned heads, unsigned kv_heads, unsigned e, float scale,    \
     unsigned window) {                                                                                                     \
        ATTENTION_TENSOR(SHARED(bf16, shared); attention_backward_query_tile<E>(shared, q, k, v, d_o, lse, delta, dq, tiles,\
                         parts, heads, kv_heads, e, scale, window);)                                                        \
    }
KERNEL(attention_backward_queries_64) ATTENTION_BACKWARD_QUERIES(64)
KERNEL(attention_backward_queries_96) ATTENTION_BACKWARD_QUERIES(96)
KERNEL(attention_backward_queries_128) ATTENTION_BACKWARD_QUERIES(128)
