// RMS norm: y = w · x / rms(x) over rows, and its backward. One block a row.
//
// Floor: forward reads x and writes y once, 2·sizeof(T) bytes an element; backward reads x, dy, dx and writes dx, 4·sizeof(T).
// About 4 and 10 operations an element: memory-bound on every GPU.

// y (n, d), rstd (n) from x (n, d), w (d). With `add` (n, d), x is x + add: the sum is written to `sum` (n, d), as stored, and normed.
KERNEL(rms_norm_forward)(const T* x, const T* add, T* sum, const float* w, float eps, T* y, float* rstd, unsigned n, unsigned d) {
    __shared__ float partial[32];
    size_t at = size_t(blockIdx.x) * d;
    float squares = 0.0f;
    for (unsigned i = threadIdx.x; i < d; i += blockDim.x) {
        float value = to_float(x[at + i]);
        if (add) {
            T stored = from_float<T>(value + to_float(add[at + i]));
            sum[at + i] = stored;
            value = to_float(stored);
        }
        squares += value * value;
    }
    float r = 1.0f / sqrtf(block_sum(squares, partial) / float(d) + eps);
    if (threadIdx.x == 0) rstd[blockIdx.x] = r;
    // The row is read again: it is in the cache. A thread reads what it wrote itself.
    const T* row = add ? sum : x;
    for (unsigned i = threadIdx.x; i < d; i += blockDim.x) {
        y[at + i] = from_float<T>(w[i] * (to_float(row[at + i]) * r));
    }
}

// dx (n, d) += rstd·(g − x̂·mean(g·x̂)) with x̂ = x·rstd, g = dy·w.
KERNEL(rms_norm_backward)(const T* x, const float* w, const float* rstd, const T* dy, T* dx, unsigned n, unsigned d) {
    __shared__ float partial[32];
    size_t at = size_t(blockIdx.x) * d;
    float r = rstd[blockIdx.x];
    float sum = 0.0f;
    for (unsigned i = threadIdx.x; i < d; i += blockDim.x) {
        sum += to_float(dy[at + i]) * w[i] * to_float(x[at + i]);
    }
    float mean = block_sum(sum, partial) * r / float(d);
    for (unsigned i = threadIdx.x; i < d; i += blockDim.x) {
        float g = to_float(dy[at + i]) * w[i];
        float old = to_float(dx[at + i]);
        dx[at + i] = from_float<T>(fmaf(r, fmaf(-mean * r, to_float(x[at + i]), g), old));
    }
}

// parts (blocks, d): Σ dy·x̂ over the `rows` rows of each block; a thread owns its columns, so the order is fixed.
KERNEL(rms_norm_weight_parts)(const T* x, const float* rstd, const T* dy, float* parts, unsigned n, unsigned d, unsigned rows) {
    unsigned column = blockIdx.y * blockDim.x + threadIdx.x;
    if (column >= d) return;
    unsigned first = blockIdx.x * rows, end = min(first + rows, n);
    float sum = 0.0f;
    for (unsigned row = first; row < end; ++row) {
        size_t at = size_t(row) * d + column;
        sum = fmaf(to_float(dy[at]), to_float(x[at]) * rstd[row], sum);
    }
    parts[size_t(blockIdx.x) * d + column] = sum;
}
