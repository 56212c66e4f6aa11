// What one line of a loop does on a processor: sums, scales and copies of whole runs of elements.
//
// Floor: the bytes of what is named in each signature, once; one or two operations an element. Memory-bound on every GPU.

// A block covers ELEMENTWISE_SPAN elements: several independent loads a thread hide the memory's latency.
#define ELEMENTWISE_SPAN 2048
#define ELEMENTWISE_EACH(i, n)                                                                                        \
    for (size_t i = size_t(blockIdx.x) * ELEMENTWISE_SPAN + threadIdx.x,                                              \
                i##_end = min(size_t(blockIdx.x + 1) * ELEMENTWISE_SPAN, n);                                           \
         i < i##_end; i += blockDim.x)

// x += y.
KERNEL(elementwise_add)(T* x, const T* y, size_t n) {
    ELEMENTWISE_EACH(i, n) x[i] = from_float<T>(to_float(x[i]) + to_float(y[i]));
}

// x *= factor.
KERNEL(elementwise_scale)(T* x, float factor, size_t n) {
    ELEMENTWISE_EACH(i, n) x[i] = from_float<T>(to_float(x[i]) * factor);
}

// x = value.
KERNEL(elementwise_fill)(T* x, float value, size_t n) {
    ELEMENTWISE_EACH(i, n) x[i] = from_float<T>(value);
}

// y = x, rounded.
KERNEL(elementwise_narrow)(const float* x, T* y, size_t n) {
    ELEMENTWISE_EACH(i, n) y[i] = from_float<T>(x[i]);
}

// y = x, exactly.
KERNEL(elementwise_widen)(const T* x, float* y, size_t n) {
    ELEMENTWISE_EACH(i, n) y[i] = to_float(x[i]);
}

// theirs = share·ours + rest·theirs, with rest = 1 − share.
KERNEL(elementwise_mix)(T* theirs, const T* ours, float share, float rest, size_t n) {
    ELEMENTWISE_EACH(i, n) theirs[i] = from_float<T>(share * to_float(ours[i]) + rest * to_float(theirs[i]));
}
