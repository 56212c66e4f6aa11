// SwiGLU: silu(gate) · up, element by element. Computed in f32, rounded once, when it is written.
//
// Floor: forward reads 2 and writes 1 element, 3·sizeof(T) bytes; backward reads 3 and writes 2, 5·sizeof(T). About 5 and 12
// operations and one exponential an element: memory-bound on every GPU.

// A block covers SWIGLU_SPAN elements: several independent loads a thread hide the memory's latency.
#define SWIGLU_SPAN 2048

// out = gate·σ(gate)·up.
KERNEL(swiglu_forward)(const T* gate, const T* up, T* out, size_t n) {
    size_t first = size_t(blockIdx.x) * SWIGLU_SPAN, end = min(first + SWIGLU_SPAN, n);
    for (size_t i = first + threadIdx.x; i < end; i += blockDim.x) {
        float g = to_float(gate[i]);
        out[i] = from_float<T>(g / (1.0f + expf(-g)) * to_float(up[i]));
    }
}

// With s = σ(gate): dup = dout·gate·s, dgate = dout·up·s·(1 + gate·(1 − s)). A destination may be a source: an element's thread
// reads all before it writes.
KERNEL(swiglu_backward)(const T* gate, const T* up, const T* dout, T* dgate, T* dup, size_t n) {
    size_t first = size_t(blockIdx.x) * SWIGLU_SPAN, end = min(first + SWIGLU_SPAN, n);
    for (size_t i = first + threadIdx.x; i < end; i += blockDim.x) {
        float g = to_float(gate[i]), u = to_float(up[i]), d = to_float(dout[i]);
        float s = 1.0f / (1.0f + expf(-g));
        dup[i] = from_float<T>(d * g * s);
        dgate[i] = from_float<T>(d * u * s * (1.0f + g * (1.0f - s)));
    }
}
