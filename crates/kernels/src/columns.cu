// The second half of a sum over rows; the first half, in `bias.cu` and `rms_norm.cu`, makes parts of it.
//
// Floor: reads the parts once, 4 bytes an element; one operation each. Parts are 64 times fewer than what they sum.

// out (d) += Σ of the rows of parts (count, d), in order.
KERNEL(columns_sum)(const float* parts, float* out, unsigned count, unsigned d) {
    unsigned column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= d) return;
    float sum = 0.0f;
    for (unsigned part = 0; part < count; ++part) sum += parts[size_t(part) * d + column];
    out[column] += sum;
}
