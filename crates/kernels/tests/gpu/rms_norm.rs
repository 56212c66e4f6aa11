use crate::support::{DTYPES, close, gpu, numbers, poisoned, stored};
use halo_kernels::gpu::{self, Dtype};
use halo_kernels::rms_norm;

const SHAPES: [(usize, usize); 7] = [
    (1, 1),
    (1, 31),
    (3, 33),
    (65, 64),
    (130, 20),
    (2, 257),
    (5, 1000),
];

#[test]
fn forward_is_the_cpu_s() {
    let gpu = gpu();
    for dtype in DTYPES {
        for (n, d) in SHAPES {
            let (x, x_host) = stored(&gpu, &numbers(n * d, 1), dtype);
            let (w, w_host) = stored(&gpu, &numbers(d, 2), Dtype::F32);
            let (mut y_host, mut rstd_host) = (vec![0.0; n * d], vec![0.0; n]);
            rms_norm::forward(&x_host, &w_host, 1e-5, &mut y_host, &mut rstd_host, n, d).unwrap();
            let (y, rstd) = (poisoned(&gpu, dtype, n * d), poisoned(&gpu, Dtype::F32, n));
            gpu::rms_norm::forward(&x, &w, 1e-5, &y, &rstd, n, d).unwrap();
            close(&y, &y_host, 1e-5);
            close(&rstd, &rstd_host, 1e-5);
        }
    }
}

#[test]
fn the_added_form_norms_the_sum_as_it_is_stored() {
    let gpu = gpu();
    for dtype in DTYPES {
        let (n, d) = (7, 70);
        let (x, x_host) = stored(&gpu, &numbers(n * d, 1), dtype);
        let (add, add_host) = stored(&gpu, &numbers(n * d, 3), dtype);
        let (w, w_host) = stored(&gpu, &numbers(d, 2), Dtype::F32);
        let [sum, y] = [0, 1].map(|_| poisoned(&gpu, dtype, n * d));
        let rstd = poisoned(&gpu, Dtype::F32, n);
        gpu::rms_norm::forward_added(&x, &add, &sum, &w, 1e-5, &y, &rstd, n, d).unwrap();
        let added: Vec<f32> = x_host.iter().zip(&add_host).map(|(x, y)| x + y).collect();
        close(&sum, &added, 1e-6);
        let sum_host = sum.download().unwrap();
        let (mut y_host, mut rstd_host) = (vec![0.0; n * d], vec![0.0; n]);
        rms_norm::forward(&sum_host, &w_host, 1e-5, &mut y_host, &mut rstd_host, n, d).unwrap();
        close(&y, &y_host, 1e-5);
        close(&rstd, &rstd_host, 1e-5);
    }
}

#[test]
fn backward_adds_the_cpu_s_gradients() {
    let gpu = gpu();
    for dtype in DTYPES {
        for (n, d) in SHAPES {
            let (x, x_host) = stored(&gpu, &numbers(n * d, 1), dtype);
            let (w, w_host) = stored(&gpu, &numbers(d, 2), Dtype::F32);
            let (dy, dy_host) = stored(&gpu, &numbers(n * d, 3), dtype);
            let (mut y, mut r) = (vec![0.0; n * d], vec![0.0; n]);
            rms_norm::forward(&x_host, &w_host, 1e-5, &mut y, &mut r, n, d).unwrap();
            let (rstd, _) = stored(&gpu, &r, Dtype::F32);
            let (dx, mut dx_host) = stored(&gpu, &numbers(n * d, 4), dtype);
            let (dw, mut dw_host) = stored(&gpu, &numbers(d, 5), Dtype::F32);
            gpu::rms_norm::backward(&x, &w, &rstd, &dy, &dx, Some(&dw), n, d).unwrap();
            let dw_out = Some(&mut dw_host[..]);
            rms_norm::backward(&x_host, &w_host, &r, &dy_host, &mut dx_host, dw_out, n, d).unwrap();
            close(&dx, &dx_host, 1e-5);
            close(&dw, &dw_host, 1e-5);
        }
    }
}

#[test]
fn a_wrong_dtype_or_length_is_named_and_nothing_runs() {
    let gpu = gpu();
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
