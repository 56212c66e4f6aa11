// Rotary position embedding in place: element i of a head is rotated with element i + E/2. One block a row of (heads, E).
//
// Floor: reads and writes x once, 2·sizeof(T) bytes an element, and 4·E bytes of cosines and sines a row, which stay in the cache;
// 3 operations an element. Memory-bound on every GPU.

// x (n, heads, 2·half), cos and sin (positions, half); sign 1 forward, −1 transposed. A position outside
// the tables, which the host does not see, makes its row no numbers.
KERNEL(rope_rotate)(T* x, const unsigned* positions, const float* cos, const float* sin, float sign, unsigned heads, unsigned half,
                    unsigned limit) {
    T* row = x + size_t(blockIdx.x) * heads * 2 * half;
    bool known = positions[blockIdx.x] < limit;
    size_t angle = known ? size_t(positions[blockIdx.x]) * half : 0;
    for (unsigned pair = threadIdx.x; pair < heads * half; pair += blockDim.x) {
        unsigned i = pair % half;
        T* head = row + size_t(pair / half) * 2 * half;
        float a = to_float(head[i]), b = to_float(head[i + half]);
        float c = known ? cos[angle + i] : NAN, s = sign * sin[angle + i];
        head[i] = from_float<T>(a * c - b * s);
        head[i + half] = from_float<T>(b * c + a * s);
    }
}
