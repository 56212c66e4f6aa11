// Token embedding: rows gathered in forward, added back in backward.
//
// Floor: forward reads and writes a row, 2·d·sizeof(T) bytes; backward reads every row of dout once and reads and writes every row
// of the destination that occurs. One operation an element: memory-bound on every GPU.

// out (n, d) = the rows `ids` of table (V, d). One block a row. An id outside the table, which the host does not see, makes its row
// no numbers.
KERNEL(embedding_forward)(const unsigned* ids, const T* table, T* out, unsigned d, unsigned v) {
    bool known = ids[blockIdx.x] < v;
    const T* from = table + (known ? size_t(ids[blockIdx.x]) * d : 0);
    T* to = out + size_t(blockIdx.x) * d;
    for (unsigned i = threadIdx.x; i < d; i += blockDim.x) to[i] = known ? from[i] : from_float<T>(NAN);
}

// Row ids[run] of `dtable` += the rows order[starts[run]..starts[run + 1]] of dout, one after another in f32, rounded once. A block
// owns a run's columns, so there is nothing to be atomic about.
template <class U>
static __device__ __forceinline__ void embedding_add(const unsigned* ids, const unsigned* starts, const unsigned* order, const T* dout,
                                                     U* dtable, unsigned d) {
    unsigned column = blockIdx.y * blockDim.x + threadIdx.x;
    if (column >= d) return;
    U* to = dtable + size_t(ids[blockIdx.x]) * d + column;
    float sum = to_float(*to);
    for (unsigned at = starts[blockIdx.x]; at < starts[blockIdx.x + 1]; ++at) sum += to_float(dout[size_t(order[at]) * d + column]);
    *to = from_float<U>(sum);
}

// Into a gradient of activations.
KERNEL(embedding_backward)(const unsigned* ids, const unsigned* starts, const unsigned* order, const T* dout, T* dtable, unsigned d) {
    embedding_add<T>(ids, starts, order, dout, dtable, d);
}

// Into the gradient bank.
KERNEL(embedding_backward_bank)(const unsigned* ids, const unsigned* starts, const unsigned* order, const T* dout, float* dtable,
                                unsigned d) {
    embedding_add<float>(ids, starts, order, dout, dtable, d);
}
