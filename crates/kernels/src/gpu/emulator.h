// A GPU in C++: enough of CUDA's device language to run the kernels on a processor, for tests.
//
// A block's threads are fibres of one operating-system thread. Whoever waits (at __syncthreads, a shuffle, an mma) yields; a
// barrier opens when all have come. Between barriers their order changes from round to round, so that a missing one shows. If nobody can go on, the kernel diverged at a barrier, and the launch fails with a message.
// Blocks are spread over the machine's threads. Shared memory is poisoned with NaN for every block.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#define __global__
#define __device__
#define __forceinline__ inline
#define __align__(bytes) alignas(bytes)
#define __restrict__ __restrict
#define __launch_bounds__(...)
// One block runs at a time on an operating-system thread.
#define __shared__ static thread_local
#define SHARED(type, name) type* name = reinterpret_cast<type*>(emulator::block->shared)

struct dim3 {
    unsigned x, y, z;
};

struct bf16 {
    uint16_t bits;
};

struct float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};

static inline float to_float(bf16 x) {
    uint32_t bits = uint32_t(x.bits) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

static inline bf16 to_bf16(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    if (x != x) return bf16{uint16_t((bits >> 16) | 0x40)};
    return bf16{uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
}

static inline unsigned pack_bf16(float lo, float hi) { return to_bf16(lo).bits | unsigned(to_bf16(hi).bits) << 16; }

static inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
using std::max;
using std::min;

namespace emulator {

constexpr unsigned WARP_SIZE = 32;
constexpr size_t STACK = 128 * 1024;

struct Fibre {
    dim3 thread;
    bool done, at_barrier;
    uint64_t barrier_seen;
    uint64_t warp_seen;
    char* stack;
#if defined(__x86_64__)
    void* sp;
#else
    ucontext_t context;
#endif
    void* fake_stack;
};

// What the lanes of a warp lay down for each other. Two generations, so that a fast lane cannot overwrite what a slow one still reads.
struct Warp {
    uint64_t generation;
    unsigned arrived;
    const char* op;
    uint32_t words[2][WARP_SIZE][8];
};

struct Block {
    dim3 index, size, grid;
    unsigned char* shared;
    uint64_t barrier;
    unsigned live, at_barrier;
    std::vector<Fibre> fibres;
    std::vector<Warp> warps;
    void (*body)(void**);
    void** args;
    std::string fault;
#if defined(__x86_64__)
    void* sp;
#else
    ucontext_t context;
#endif
    const void* stack;
    size_t stack_size;
};

static thread_local Block* block;
static thread_local Fibre* fibre;

#if defined(__x86_64__)
// Saves the callee-saved registers on the stack it leaves, and takes them from the one it enters.
__attribute__((naked, noinline)) static void switch_stacks(void** /*leave*/, void* /*enter*/) {
    asm("pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
        "movq %rsp, (%rdi)\n movq %rsi, %rsp\n"
        "popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n ret\n");
}
#endif

static void leave(bool for_good) {
    Fibre* self = fibre;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(for_good ? nullptr : &self->fake_stack, block->stack, block->stack_size);
#endif
    (void)for_good;
#if defined(__x86_64__)
    switch_stacks(&self->sp, block->sp);
#else
    swapcontext(&self->context, &block->context);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(self->fake_stack, nullptr, nullptr);
#endif
}

static void enter(Fibre* next) {
    fibre = next;
#if defined(__SANITIZE_ADDRESS__)
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, next->stack, STACK);
#endif
#if defined(__x86_64__)
    switch_stacks(&block->sp, next->sp);
#else
    swapcontext(&block->context, &next->context);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

static void run_fibre() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &block->stack, &block->stack_size);
#endif
    block->body(block->args);
    fibre->done = true;
    block->live -= 1;
    leave(true);
    std::abort(); // a finished fibre is never entered again
}

static void prepare(Fibre& f) {
#if defined(__x86_64__)
    // run_fibre is entered by `ret`: the stack must look as after a call, 8 bytes off 16.
    void** top = reinterpret_cast<void**>(f.stack + STACK) - 2;
    *top = reinterpret_cast<void*>(run_fibre);
    f.sp = top - 6;
#else
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack;
    f.context.uc_stack.ss_size = STACK;
    makecontext(&f.context, run_fibre, 0);
#endif
}

// Lays this lane's words down, waits until the whole warp has, and gives everybody's.
static uint32_t (*exchange(const char* op, const void* mine, size_t bytes))[8] {
    Warp& warp = block->warps[fibre->thread.x / WARP_SIZE];
    uint64_t generation = warp.generation;
    auto words = warp.words[generation % 2];
    std::memcpy(words[fibre->thread.x % WARP_SIZE], mine, bytes);
    if (warp.arrived == 0) warp.op = op;
    if (std::strcmp(warp.op, op) != 0 && block->fault.empty())
        block->fault = std::string("lanes of one warp meet in ") + warp.op + " and in " + op;
    if (++warp.arrived == WARP_SIZE) {
        warp.arrived = 0;
        warp.generation += 1;
    } else {
        fibre->warp_seen = generation;
        leave(false);
    }
    return words;
}

static bool can_run(const Fibre& f) {
    if (f.done) return false;
    if (f.at_barrier) return f.barrier_seen != block->barrier;
    return f.warp_seen != block->warps[f.thread.x / WARP_SIZE].generation;
}

// Runs one block to its end; false if it diverged.
static bool run_block() {
    unsigned n = block->size.x;
    block->live = n;
    block->barrier = 1;
    block->at_barrier = 0;
    for (Warp& warp : block->warps) warp.generation = 1, warp.arrived = 0;
    for (unsigned i = 0; i < n; ++i) {
        Fibre& f = block->fibres[i];
        f.thread = dim3{i, 0, 0};
        f.done = f.at_barrier = false;
        f.barrier_seen = f.warp_seen = 0;
        f.fake_stack = nullptr;
        prepare(f);
    }
    for (unsigned round = 0; block->live > 0 && block->fault.empty(); ++round) {
        bool moved = false;
        for (unsigned turn = 0; turn < n; ++turn) {
            // Forwards, backwards, and in strides of a prime above every block's size.
            unsigned i = round % 3 == 0 ? turn : round % 3 == 1 ? n - 1 - turn : (turn * 7919u + round) % n;
            if (!can_run(block->fibres[i])) continue;
            moved = true;
            enter(&block->fibres[i]);
        }
        if (block->live > 0 && block->at_barrier == block->live) {
            block->at_barrier = 0;
            block->barrier += 1;
            moved = true;
        }
        if (!moved) {
            block->fault = "its threads wait for each other: a barrier or a shuffle that not all of them reach (block " +
                           std::to_string(block->index.x) + ", " + std::to_string(block->index.y) + ")";
        }
    }
    return block->fault.empty();
}

// All blocks of a launch; the message of the first fault, or nothing.
static std::string launch(void (*body)(void**), const unsigned grid[3], unsigned size, size_t shared, void** args) {
    if (size == 0 || size > 1024 || size % WARP_SIZE != 0) return "a block of " + std::to_string(size) + " threads";
    size_t blocks = size_t(grid[0]) * grid[1] * grid[2];
    size_t workers = std::min<size_t>(std::max(1u, std::thread::hardware_concurrency()), blocks);
    std::atomic<size_t> next{0};
    std::vector<std::string> faults(workers);
    auto work = [&](size_t worker) {
        Block own{};
        own.size = dim3{size, 1, 1};
        own.grid = dim3{grid[0], grid[1], grid[2]};
        own.body = body;
        own.args = args;
        own.fibres.resize(size);
        own.warps.resize(size / WARP_SIZE);
        std::vector<char*> stacks(size);
        for (unsigned i = 0; i < size; ++i) own.fibres[i].stack = stacks[i] = static_cast<char*>(std::malloc(STACK));
        own.shared = static_cast<unsigned char*>(std::aligned_alloc(16, (std::max<size_t>(shared, 1) + 15) / 16 * 16));
        block = &own;
        for (size_t at; (at = next++) < blocks;) {
            own.index = dim3{unsigned(at % grid[0]), unsigned(at / grid[0] % grid[1]), unsigned(at / grid[0] / grid[1])};
            std::memset(own.shared, 0xff, shared);
            if (!run_block()) break;
        }
        block = nullptr;
        faults[worker] = own.fault;
        std::free(own.shared);
        for (char* stack : stacks) std::free(stack);
    };
    std::vector<std::thread> threads;
    for (size_t worker = 1; worker < workers; ++worker) threads.emplace_back(work, worker);
    if (workers > 0) work(0);
    for (auto& thread : threads) thread.join();
    for (auto& fault : faults)
        if (!fault.empty()) return fault;
    return "";
}

template <class... A, size_t... I>
static void apply(void (*kernel)(A...), void** args, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_const_t<A>*>(args[I])...);
}

// The same untyped form for every kernel: `args` points at the values of its parameters, as for cuLaunchKernel.
template <auto Kernel> struct Body;
template <class... A, void (*Kernel)(A...)> struct Body<Kernel> {
    static void run(void** args) { apply(Kernel, args, std::index_sequence_for<A...>{}); }
};

} // namespace emulator

#define threadIdx (emulator::fibre->thread)
#define blockIdx (emulator::block->index)
#define blockDim (emulator::block->size)
#define gridDim (emulator::block->grid)

static inline void __syncthreads() {
    emulator::fibre->at_barrier = true;
    emulator::fibre->barrier_seen = emulator::block->barrier;
    emulator::block->at_barrier += 1;
    emulator::leave(false);
    emulator::fibre->at_barrier = false;
}

static inline void __syncwarp(unsigned = 0xffffffffu) {
    uint32_t nothing = 0;
    emulator::exchange("__syncwarp", &nothing, 4);
}

template <class V> static inline V emulator_shuffle(const char* op, V mine, unsigned from) {
    static_assert(sizeof(V) <= 32, "a shuffle moves registers");
    auto words = emulator::exchange(op, &mine, sizeof(V));
    V value;
    std::memcpy(&value, words[from % 32], sizeof(V));
    return value;
}

template <class V> static inline V __shfl_xor_sync(unsigned, V x, int lanes) {
    return emulator_shuffle("__shfl_xor_sync", x, (threadIdx.x % 32) ^ lanes);
}
template <class V> static inline V __shfl_sync(unsigned, V x, int lane) { return emulator_shuffle("__shfl_sync", x, lane); }
template <class V> static inline V __shfl_down_sync(unsigned, V x, unsigned lanes) {
    unsigned lane = threadIdx.x % 32, from = lane + lanes;
    return emulator_shuffle("__shfl_down_sync", x, from < 32 ? from : lane);
}

// The plain twin of the tensor cores' tile: every lane lays its fragments down and works its own four entries out.
static inline void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    uint32_t mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    auto lanes = emulator::exchange("mma_bf16", mine, sizeof mine);
    auto half = [](uint32_t word, unsigned high) { return to_float(bf16{uint16_t(word >> (16 * high))}); };
    // PTX, m16n8k16: row r and column k of A stand in lane (r % 8) * 4 + k % 8 / 2, register r / 8 + k / 8 * 2, half k % 2;
    // row k and column n of B in lane n * 4 + k % 8 / 2, register k / 8, half k % 2.
    unsigned lane = threadIdx.x % 32;
    for (unsigned i = 0; i < 4; ++i) {
        unsigned r = lane / 4 + i / 2 * 8, n = lane % 4 * 2 + i % 2;
        float sum = 0.0f;
        for (unsigned k = 0; k < 16; ++k) {
            float x = half(lanes[r % 8 * 4 + k % 8 / 2][r / 8 + k / 8 * 2], k % 2);
            float y = half(lanes[n * 4 + k % 8 / 2][4 + k / 8], k % 2);
            sum += x * y;
        }
        d[i] += sum;
    }
}
