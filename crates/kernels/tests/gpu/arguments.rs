use halo_kernels::gpu::{self, Dtype, Gpu};

#[test]
fn a_wrong_dtype_or_length_is_named_and_nothing_runs() {
    let gpu = Gpu::emulated().unwrap();
    let x = gpu.zeros(Dtype::Bf16, 12).unwrap();
    let f = gpu.zeros(Dtype::F32, 12).unwrap();
    let error = gpu::rms_norm::forward(&x, &f, 1e-5, &f, &f, 4, 3)
        .unwrap_err()
        .to_string();
    assert!(error.contains("`w` has 12 elements, expected 3"), "{error}");
    let w = gpu.zeros(Dtype::F32, 3).unwrap();
    let error = gpu::rms_norm::forward(&x, &w, 1e-5, &f, &f, 4, 3)
        .unwrap_err()
        .to_string();
    assert!(error.contains("`y` is F32, expected Bf16"), "{error}");
}
