use crate::support::{DTYPES, close, gpu, numbers, poisoned, stored};
use halo_kernels::gpu::{self, Dtype};
use halo_kernels::matmul;

#[test]
fn a_linear_layer_s_three_products_are_the_cpu_s() {
    let gpu = gpu();
    for dtype in DTYPES {
        for output in [dtype, Dtype::F32] {
            let (n, i, o) = (5, 7, 11);
            let (x, x_host) = stored(&gpu, &numbers(n * i, 1), dtype);
            let (w, w_host) = stored(&gpu, &numbers(o * i, 2), dtype);
            let (dy, dy_host) = stored(&gpu, &numbers(n * o, 3), dtype);

            let (y, mut y_host) = (poisoned(&gpu, output, n * o), vec![0.0; n * o]);
            gpu::matmul::linear(&x, &w, &y, n, i, o, 1.0, 0.0).unwrap();
            matmul::linear(&x_host, &w_host, &mut y_host, n, i, o, 0.0).unwrap();
            close(&y, &y_host, 1e-5);

            let (dx, mut dx_host) = stored(&gpu, &numbers(n * i, 4), output);
            gpu::matmul::linear_dx(&dy, &w, &dx, n, i, o, 1.0, 1.0).unwrap();
            matmul::linear_dx(&dy_host, &w_host, &mut dx_host, n, i, o, 1.0).unwrap();
            close(&dx, &dx_host, 1e-5);

            let (dw, mut dw_host) = stored(&gpu, &numbers(o * i, 5), output);
            gpu::matmul::linear_dw(&dy, &x, &dw, n, i, o, 0.5).unwrap();
            matmul::linear_dw(&dy_host, &x_host, &mut dw_host, n, i, o, 0.5).unwrap();
            close(&dw, &dw_host, 1e-5);
        }
    }
}
