// The bias of a linear layer.
//
// Floor: `add` reads and writes y, 2·sizeof(T) bytes an element; the gradient reads dy once, sizeof(T). One operation an element:
// memory-bound on every GPU.

// y (n, o) += b (o). One block a row.
KERNEL(bias_add)(T* y, const float* b, unsigned o) {
    T* row = y + size_t(blockIdx.x) * o;
    for (unsigned i = threadIdx.x; i < o; i += blockDim.x) row[i] = from_float<T>(to_float(row[i]) + b[i]);
}

// parts (blocks, o): Σ of the `rows` rows of each block; a thread owns its column, so the order is fixed.
KERNEL(bias_parts)(const T* dy, float* parts, unsigned n, unsigned o, unsigned rows) {
    unsigned column = blockIdx.y * blockDim.x + threadIdx.x;
    if (column >= o) return;
    unsigned first = blockIdx.x * rows, end = min(first + rows, n);
    float sum = 0.0f;
    for (unsigned row = first; row < end; ++row) sum += to_float(dy[size_t(row) * o + column]);
    parts[size_t(blockIdx.x) * o + column] = sum;
}
