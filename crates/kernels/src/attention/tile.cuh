// What the attention kernels share: the tiles of a plan, what a query sees, and moving 16-bit tiles to the tensor cores.
#pragma once

// Base-2 exponentials are one instruction.
#define ATTENTION_LOG2E 1.4426950408889634f
#define ATTENTION_LN2 0.6931471805599453f

// Rows that one block owns, and the range of what they read (or of who reads them).
struct AttentionTile {
    unsigned row, rows, position, begin, end;
};

// A run of rows at consecutive positions.
struct AttentionPart {
    unsigned row, rows, position;
};

// A window is at most 2^31 and positions are below it, so a key after the query wraps to a distance outside every window.
static __device__ __forceinline__ bool attention_visible(unsigned query, unsigned key, unsigned window) {
    return query - key < window;
}

// Walks a range of parts in pieces of at most MOST rows, `rounds` times over (once for every query head of a group).
template <unsigned MOST> struct AttentionWalk {
    const AttentionPart* parts;
    unsigned begin, end, rounds, part, offset, round;

    __device__ __forceinline__ AttentionWalk(const AttentionPart* parts, unsigned begin, unsigned end, unsigned rounds)
        : parts(parts), begin(begin), end(end), rounds(rounds), part(begin), offset(0), round(0) {}

    // False at the end; the piece belongs to round `in`.
    __device__ __forceinline__ bool next(AttentionPart& piece, unsigned& in) {
        if (part >= end) {
            part = begin;
            round += 1;
        }
        if (round >= rounds || begin >= end) return false;
        AttentionPart whole = parts[part];
        in = round;
        piece.row = whole.row + offset;
        piece.rows = min(whole.rows - offset, MOST);
        piece.position = whole.position + offset;
        offset += MOST;
        if (offset >= whole.rows) {
            offset = 0;
            part += 1;
        }
        return true;
    }
};

// The tensor cores have no f32: that form of their kernels is empty, and the launcher never asks for it.
#ifdef HALO_BF16
#define ATTENTION_TENSOR(...) __VA_ARGS__
#else
#define ATTENTION_TENSOR(...)
#endif

#ifdef HALO_BF16

// 16 bytes from global to shared memory behind the threads' back, or zeros; done after attention_wait and a barrier.
static __device__ __forceinline__ void attention_copy(bf16* to, const bf16* from, bool inside) {
#ifdef HALO_EMULATOR
    if (inside) {
        std::memcpy(to, from, 16);
    } else {
        std::memset(to, 0, 16);
    }
#else
    unsigned address = unsigned(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(address), "l"(from), "r"(inside ? 16 : 0) : "memory");
#endif
}

// Closes the group of copies since the last one.
static __device__ __forceinline__ void attention_commit() {
#ifndef HALO_EMULATOR
    asm volatile("cp.async.commit_group;\n" ::: "memory");
#endif
}

// Waits for all groups of this thread but the LATEST.
template <int LATEST> static __device__ __forceinline__ void attention_wait() {
#ifndef HALO_EMULATOR
    asm volatile("cp.async.wait_group %0;\n" ::"n"(LATEST) : "memory");
#endif
}

// Rows of one head into shared memory (ROWS, E + 8), zeros from `rows` and from column `e` on. The 8 keep the eight rows of
// a matrix in different banks.
template <int E, int ROWS>
static __device__ __forceinline__ void attention_fetch(bf16* tile, const bf16* source, size_t width, unsigned rows, unsigned e) {
    for (unsigned i = threadIdx.x; i < ROWS * (E / 8); i += blockDim.x) {
        unsigned row = i / (E / 8), column = i % (E / 8) * 8;
        bool inside = row < rows && column < e;
        attention_copy(tile + row * (E + 8) + column, source + (inside ? row * width + column : 0), inside);
    }
}

// Four 8 × 8 matrices of 16 bits: lane 8·i + r points at row r of matrix i. Lane l gets of each the entries 2·(l % 4) and
// the next of row l / 4, or of column l / 4 if TRANSPOSED. This is PTX's ldmatrix.x4.
template <bool TRANSPOSED>
static __device__ __forceinline__ void attention_matrices(unsigned& a, unsigned& b, unsigned& c, unsigned& d, const bf16* row) {
#ifdef HALO_EMULATOR
    auto lanes = emulator::exchange("attention_matrices", &row, sizeof row);
    unsigned* results[4] = {&a, &b, &c, &d};
    for (unsigned i = 0; i < 4; ++i) {
        auto entry = [&](unsigned r, unsigned column) {
            const bf16* from;
            std::memcpy(&from, lanes[8 * i + r], sizeof from);
            return unsigned(from[column].bits);
        };
        unsigned far = LANE / 4, near = LANE % 4 * 2;
        *results[i] = TRANSPOSED ? entry(near, far) | entry(near + 1, far) << 16 : entry(far, near) | entry(far, near + 1) << 16;
    }
#else
    unsigned address = unsigned(__cvta_generic_to_shared(row));
    if (TRANSPOSED) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                     : "=r"(a), "=r"(b), "=r"(c), "=r"(d) : "r"(address) : "memory");
    } else {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                     : "=r"(a), "=r"(b), "=r"(c), "=r"(d) : "r"(address) : "memory");
    }
#endif
}

// The fragment of A (16, 16), row-major at `tile`.
static __device__ __forceinline__ void attention_a(unsigned (&a)[4], const bf16* tile, unsigned stride) {
    attention_matrices<false>(a[0], a[1], a[2], a[3], tile + LANE % 16 * stride + LANE / 16 * 8);
}

// The fragments of B (16, 16), as two of eight columns, from Bᵀ (columns, k) row-major at `tile`.
static __device__ __forceinline__ void attention_b(unsigned (&b)[2][2], const bf16* tile, unsigned stride) {
    const bf16* row = tile + (LANE % 8 + LANE / 16 * 8) * stride + LANE / 8 % 2 * 8;
    attention_matrices<false>(b[0][0], b[0][1], b[1][0], b[1][1], row);
}

// The same from B (k, columns) row-major at `tile`.
static __device__ __forceinline__ void attention_b_transposed(unsigned (&b)[2][2], const bf16* tile, unsigned stride) {
    const bf16* row = tile + LANE % 16 * stride + LANE / 16 * 8;
    attention_matrices<true>(b[0][0], b[0][1], b[1][0], b[1][1], row);
}

// d (16, 8·2P) += a (16, E) · bᵀ, both from shared memory, b (16·P rows, E).
template <int E, int P>
static __device__ __forceinline__ void attention_scores(float (&d)[2 * P][4], const bf16* a, const bf16* b) {
    constexpr unsigned STRIDE = E + 8;
#pragma unroll
    for (int c = 0; c < E / 16; ++c) {
        unsigned left[4];
        attention_a(left, a + c * 16, STRIDE);
#pragma unroll
        for (int pair = 0; pair < P; ++pair) {
            unsigned right[2][2];
            attention_b(right, b + pair * 16 * STRIDE + c * 16, STRIDE);
            mma_bf16(d[2 * pair], left, right[0]);
            mma_bf16(d[2 * pair + 1], left, right[1]);
        }
    }
}

// sum (16, E) += p (16, 16·P) · b (16·P, E): the accumulators of p lie just as fragments of A do.
template <int E, int P>
static __device__ __forceinline__ void attention_weigh(float (&sum)[E / 8][4], const float (&p)[2 * P][4], const bf16* b) {
    constexpr unsigned STRIDE = E + 8;
#pragma unroll
    for (int c = 0; c < P; ++c) {
        unsigned left[4] = {pack_bf16(p[2 * c][0], p[2 * c][1]), pack_bf16(p[2 * c][2], p[2 * c][3]),
                            pack_bf16(p[2 * c + 1][0], p[2 * c + 1][1]), pack_bf16(p[2 * c + 1][2], p[2 * c + 1][3])};
#pragma unroll
        for (int pair = 0; pair < E / 16; ++pair) {
            unsigned right[2][2];
            attention_b_transposed(right, b + c * 16 * STRIDE + pair * 16, STRIDE);
            mma_bf16(sum[2 * pair], left, right[0]);
            mma_bf16(sum[2 * pair + 1], left, right[1]);
        }
    }
}

// Rows (16 of this warp, e) of `sum`, times a factor for its upper and its lower eight rows, to one head of `to`.
template <int E>
static __device__ __forceinline__ void attention_store(bf16* to, const float (&sum)[E / 8][4], const float (&factor)[2], size_t width,
                                                       unsigned rows, unsigned e) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        unsigned row = WARP * 16 + LANE / 4 + half * 8;
        if (row >= rows) continue;
#pragma unroll
        for (int i = 0; i < E / 8; ++i) {
            unsigned column = i * 8 + LANE % 4 * 2;
            if (column >= e) continue;
            unsigned pair = pack_bf16(sum[i][2 * half] * factor[half], sum[i][2 * half + 1] * factor[half]);
            *reinterpret_cast<unsigned*>(to + row * width + column) = pair;
        }
    }
}

#endif
