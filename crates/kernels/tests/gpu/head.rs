use crate::support::{gpu, poisoned};
use halo_kernels::gpu::checks::{indices, numbers};
use halo_kernels::gpu::{self, Dtype, head::Entries};

#[test]
fn extreme_logits_stay_finite() {
    let gpu = gpu();
    let (d, v) = (4, 50);
    let mut w = vec![0.0; v * d];
    w[7 * d] = 1000.0;
    w[9 * d] = -1000.0;
    let (w, h) = (
        gpu.upload(&w).unwrap(),
        gpu.upload(&[10.0, 0.0, 0.0, 0.0]).unwrap(),
    );
    let entries = Entries::new(&gpu, &[0, 0], &[7, 9]).unwrap();
    let [logps, lse] = [0, 1].map(|_| poisoned(&gpu, Dtype::F32, 2));
    let u = poisoned(&gpu, Dtype::F32, 2 * d);
    gpu::head::forward(&h, &w, d, &entries, &logps, &lse, Some(&u), 8).unwrap();
    assert_eq!(logps.download().unwrap(), [0.0, -20000.0]);
    assert!(u.download().unwrap().iter().all(|x| x.is_finite()));
}

#[test]
fn the_scratch_is_bounded_and_freed() {
    let gpu = gpu();
    for v in [1, 32_000, 128_256, 262_144] {
        let rows = gpu::head::chunk(v);
        assert!(rows >= 64 && rows * v * 8 <= 512 << 20, "{v}: {rows}");
    }
    let (n, d, v, chunk) = (64, 8, 1000, 16);
    let [h, w] = [n, v].map(|rows| gpu.upload(&numbers(rows * d, 1)).unwrap());
    let rows: Vec<u32> = (0..n as u32).collect();
    let entries = Entries::new(&gpu, &rows, &indices(n, v, 2)).unwrap();
    let [logps, lse] = [0, 1].map(|_| poisoned(&gpu, Dtype::F32, n));
    let before = gpu.memory().unwrap();
    gpu::head::forward(&h, &w, d, &entries, &logps, &lse, None, chunk).unwrap();
    let after = gpu.memory().unwrap();
    assert_eq!(after.in_use, before.in_use);
    assert!(after.peak - before.in_use < 2 * chunk * v * 4);
}

#[test]
fn an_index_outside_its_table_is_refused() {
    let gpu = gpu();
    let [h, w, out] = [4, 6, 2].map(|n| gpu.zeros(Dtype::F32, n).unwrap());
    for (rows, targets, reason) in [
        ([0, 2], [0, 1], "a row is outside hidden"),
        ([0, 1], [2, 3], "a target is outside the vocabulary"),
    ] {
        let entries = Entries::new(&gpu, &rows, &targets).unwrap();
        let error = gpu::head::forward(&h, &w, 2, &entries, &out, &out, None, 8).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
}
