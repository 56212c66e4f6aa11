// Attention forward through the tensor cores: bf16, head dimension a multiple of 8 up to 128. Online softmax, no T² buffer.
//
// A block has 64 queries of one head, a warp 16 of them: their fragments stay in registers, tiles of 64 keys and of 64 values
// pass through shared memory, each fetched while the other is worked on, and the probabilities go from the accumulators of one
// product straight into the other. Blocks of one query tile are neighbours, so a group's keys and values come from the L2.
// See Dao, "FlashAttention-2", arXiv:2307.08691, algorithm 1.
//
// Floor: q, k, v are read and o written once, 2·(2·H + 2·K)·E bytes a row and 4·H of lse; 4·E operations a visible
// (query, key) pair and head: bound by the tensor cores from some hundred keys a query on.
#include "tile.cuh"

#ifdef HALO_BF16
template <int E>
static __device__ __forceinline__ void attention_forward_tile(bf16* shared, const bf16* q, const bf16* k, const bf16* v, bf16* o, float* lse,
                                                              const AttentionTile* tiles, const AttentionPart* parts, unsigned heads,
                                                              unsigned kv_heads, unsigned e, float scale, unsigned window) {
    constexpr unsigned STRIDE = E + 8, KEYS = 64;
    bf16* keys = shared;                   // (64, STRIDE); at first the queries
    bf16* values = shared + KEYS * STRIDE; // (64, STRIDE)
    AttentionTile tile = tiles[blockIdx.x / heads];
    unsigned head = blockIdx.x % heads, kv_head = head / (heads / kv_heads);
    size_t q_width = size_t(heads) * e, kv_width = size_t(kv_heads) * e;
    size_t q_at = tile.row * q_width + size_t(head) * e;
    k += size_t(kv_head) * e;
    v += size_t(kv_head) * e;

    attention_fetch<E, 64>(keys, q + q_at, q_width, tile.rows, e);
    attention_commit();
    attention_wait<0>();
    __syncthreads();
    unsigned queries[E / 16][4];
#pragma unroll
    for (int c = 0; c < E / 16; ++c) attention_a(queries[c], keys + WARP * 16 * STRIDE + c * 16, STRIDE);
    __syncthreads();

    // Of this lane's two rows, LANE / 4 and that + 8; maxima and scores in units of ln 2.
    float sum[E / 8][4] = {}, most[2] = {-INFINITY, -INFINITY}, total[2] = {0.0f, 0.0f};
    unsigned first = tile.position + WARP * 16 + LANE / 4;
    float factor = scale * ATTENTION_LOG2E;
    AttentionWalk<KEYS> walk(parts, tile.begin, tile.end, 1);
    AttentionPart now, next;
    unsigned round;
    bool more = walk.next(now, round);
    if (more) attention_fetch<E, KEYS>(keys, k + now.row * kv_width, kv_width, now.rows, e);
    attention_commit();
    while (more) {
        attention_fetch<E, KEYS>(values, v + now.row * kv_width, kv_width, now.rows, e);
        attention_commit();
        attention_wait<1>();
        __syncthreads();
        float s[KEYS / 8][4] = {};
#pragma unroll
        for (int pair = 0; pair < int(KEYS) / 16; ++pair) {
#pragma unroll
            for (int c = 0; c < E / 16; ++c) {
                unsigned right[2][2];
                attention_b(right, keys + pair * 16 * STRIDE + c * 16, STRIDE);
                mma_bf16(s[2 * pair], queries[c], right[0]);
                mma_bf16(s[2 * pair + 1], queries[c], right[1]);
            }
        }
        __syncthreads();
        more = walk.next(next, round);
        if (more) attention_fetch<E, KEYS>(keys, k + next.row * kv_width, kv_width, next.rows, e);
        attention_commit();

        bool all = now.rows == KEYS && now.position + KEYS - 1 <= tile.position && tile.position + 63 - now.position < window;
        float peak[2] = {most[0], most[1]};
#pragma unroll
        for (int i = 0; i < int(KEYS) / 8; ++i) {
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                unsigned key = i * 8 + LANE % 4 * 2 + j % 2;
                bool seen = all || (key < now.rows && attention_visible(first + j / 2 * 8, now.position + key, window));
                s[i][j] = seen ? s[i][j] * factor : -INFINITY;
                peak[j / 2] = fmaxf(peak[j / 2], s[i][j]);
            }
        }
        float base[2];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            // The four lanes of a row.
            peak[half] = fmaxf(peak[half], __shfl_xor_sync(0xffffffffu, peak[half], 1));
            peak[half] = fmaxf(peak[half], __shfl_xor_sync(0xffffffffu, peak[half], 2));
            // A row that has seen no key yet has no maximum: −∞ − −∞ is NaN.
            base[half] = peak[half] == -INFINITY ? 0.0f : peak[half];
            float shrink = exp2f(most[half] - base[half]);
            most[half] = peak[half];
            total[half] *= shrink;
#pragma unroll
            for (int i = 0; i < E / 8; ++i) {
                sum[i][2 * half] *= shrink;
                sum[i][2 * half + 1] *= shrink;
            }
        }
#pragma unroll
        for (int i = 0; i < int(KEYS) / 8; ++i) {
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                s[i][j] = exp2f(s[i][j] - base[j / 2]);
                total[j / 2] += s[i][j];
            }
        }
        attention_wait<1>();
        __syncthreads();
        attention_weigh<E, KEYS / 16>(sum, s, values);
        __syncthreads();
        now = next;
    }

    float inverse[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        total[half] += __shfl_xor_sync(0xffffffffu, total[half], 1);
        total[half] += __shfl_xor_sync(0xffffffffu, total[half], 2);
        inverse[half] = 1.0f / total[half];
        unsigned row = WARP * 16 + LANE / 4 + half * 8;
        if (row < tile.rows && LANE % 4 == 0) {
            lse[size_t(tile.row + row) * heads + head] = most[half] * ATTENTION_LN2 + logf(total[half]);
        }
    }
    attention_store<E>(o + q_at, sum, inverse, q_width, tile.rows, e);
}

#endif

// o (N, H, e), lse (N, H) from q (N, H, e), k and v (N, K, e). Grid: query tiles · H. Shared: 2·64·(E + 8) elements.
KERNEL(attention_forward_64)(const T* q, const T* k, const T* v, T* o, float* lse, const AttentionTile* tiles, const AttentionPart* parts,
                             unsigned heads, unsigned kv_heads, unsigned e, float scale, unsigned window) {
    ATTENTION_TENSOR(SHARED(bf16, shared); attention_forward_tile<64>(shared, q, k, v, o, lse, tiles, parts, heads, kv_heads, e, scale, window);)
}

KERNEL(attention_forward_96)(const T* q, const T* k, const T* v, T* o, float* lse, const AttentionTile* tiles, const AttentionPart* parts,
                             unsigned heads, unsigned kv_heads, unsigned e, float scale, unsigned window) {
    ATTENTION_TENSOR(SHARED(bf16, shared); attention_forward_tile<96>(shared, q, k, v, o, lse, tiles, parts, heads, kv_heads, e, scale, window);)
}

KERNEL(attention_forward_128)(const T* q, const T* k, const T* v, T* o, float* lse, const AttentionTile* tiles, const AttentionPart* parts,
                              unsigned heads, unsigned kv_heads, unsigned e, float scale, unsigned window) {
    ATTENTION_TENSOR(SHARED(bf16, shared); attention_forward_tile<128>(shared, q, k, v, o, lse, tiles, parts, heads, kv_heads, e, scale, window);)
}
