use crate::support::gpu;
use halo_kernels::gpu::{self, Dtype, embedding::Runs};

#[test]
fn an_id_outside_the_table_is_refused_or_seen() {
    let gpu = gpu();
    let [table, out] = [8, 4].map(|n| gpu.zeros(Dtype::F32, n).unwrap());
    let runs = Runs::new(&gpu, &[0, 4]).unwrap();
    let error = gpu::embedding::backward(&runs, &out, &table, 2).unwrap_err();
    assert!(error.to_string().contains("an id is outside"), "{error}");
    gpu::embedding::forward(&gpu.upload_u32(&[0, 4]).unwrap(), &table, &out, 2).unwrap();
    let out = out.download().unwrap();
    assert!(out[..2] == [0.0; 2] && out[2..].iter().all(|x| x.is_nan()));
}
