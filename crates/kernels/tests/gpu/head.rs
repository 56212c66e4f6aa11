use crate::support::{DTYPES, bits, close, gpu, indices, numbers, poisoned, stored};
use halo_kernels::gpu::{self, Dtype, head::Entries};
use halo_kernels::head;

/// (n, d, v, m, chunk); entries of one row need not be neighbours.
const SHAPES: [(usize, usize, usize, usize, usize); 6] = [
    (1, 1, 1, 1, 1),
    (4, 3, 5, 9, 2),
    (40, 16, 700, 60, 7),
    (30, 64, 1025, 33, 256),
    (2, 8, 40, 50, 4),
    (5, 8, 100, 0, 4),
];

#[test]
fn every_pass_is_the_cpu_s() {
    let gpu = gpu();
    for dtype in DTYPES {
        // The softmax is rounded to bf16 before its product with the matrix: 2⁻⁸ of terms that partly cancel.
        let rough = if dtype == Dtype::Bf16 { 1e-2 } else { 3e-5 };
        for (n, d, v, m, chunk) in SHAPES {
            let (rows, targets) = (indices(m, n, 1), indices(m, v, 2));
            let (h, h_host) = stored(&gpu, &numbers(n * d, 3), dtype);
            let (w, w_host) = stored(&gpu, &numbers(v * d, 4), dtype);
            let (g, g_host) = stored(&gpu, &numbers(m, 5), Dtype::F32);
            let [mut logps_host, mut lse_host, mut out_host] = [0, 1, 2].map(|_| vec![0.0; m]);
            let mut u_host = vec![0.0; m * d];
            head::forward(
                &h_host,
                &w_host,
                d,
                &rows,
                &targets,
                &mut logps_host,
                &mut lse_host,
                Some(&mut u_host),
                64,
            )
            .unwrap();
            head::log_collisions(&h_host, &w_host, d, &rows, &lse_host, &mut out_host, 64).unwrap();
            let entries = Entries::new(&gpu, &rows, &targets).unwrap();
            let run = || {
                let [logps, lse, out, alone] = [0; 4].map(|_| poisoned(&gpu, Dtype::F32, m));
                let u = poisoned(&gpu, dtype, m * d);
                gpu::head::forward(&h, &w, d, &entries, &logps, &lse, Some(&u), chunk).unwrap();
                close(&logps, &logps_host, 3e-6);
                close(&lse, &lse_host, 3e-6);
                close(&u, &u_host, rough);
                gpu::head::forward(&h, &w, d, &entries, &alone, &lse, None, chunk).unwrap();
                assert_eq!(bits(&alone), bits(&logps));
                gpu::head::log_collisions(&h, &w, d, &entries, &lse, &out, chunk).unwrap();
                close(&out, &out_host, 1e-5);

                let (dh, mut dh_host) = stored(&gpu, &numbers(n * d, 6), dtype);
                let u_stored = u.download().unwrap();
                gpu::head::backward_frozen(&u, &g, &entries, &dh, d).unwrap();
                head::backward_frozen(&u_stored, &g_host, &rows, &mut dh_host, d).unwrap();
                close(&dh, &dh_host, 1e-5);

                let (dt, mut dt_host) = stored(&gpu, &numbers(n * d, 6), dtype);
                let (dw, mut dw_host) = stored(&gpu, &numbers(v * d, 7), Dtype::F32);
                gpu::head::backward_trained(&h, &w, d, &lse, &entries, &g, &dt, &dw, chunk)
                    .unwrap();
                head::backward_trained(
                    &h_host,
                    &w_host,
                    d,
                    &lse_host,
                    &rows,
                    &targets,
                    &g_host,
                    &mut dt_host,
                    &mut dw_host,
                    64,
                )
                .unwrap();
                close(&dt, &dt_host, rough);
                close(&dw, &dw_host, rough);
                [&logps, &lse, &out, &u, &dh, &dt, &dw].map(bits)
            };
            assert!(run() == run());
        }
    }
}

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
