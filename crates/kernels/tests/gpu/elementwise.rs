use crate::support::gpu;
use halo_kernels::gpu::{Dtype, elementwise};

#[test]
fn a_conversion_between_other_dtypes_is_refused() {
    let gpu = gpu();
    let [x, y] = [0, 1].map(|_| gpu.zeros(Dtype::Bf16, 3).unwrap());
    let error = elementwise::convert(&x, &y).unwrap_err().to_string();
    assert!(error.contains("`y` is Bf16, expected F32"), "{error}");
    let indices = gpu.upload_u32(&[0; 3]).unwrap();
    let error = elementwise::fill(&indices, 1.0).unwrap_err().to_string();
    assert!(error.contains("neither f32 nor bf16"), "{error}");
}
