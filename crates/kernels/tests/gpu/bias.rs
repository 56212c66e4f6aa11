use crate::support::{DTYPES, bits, close, gpu, numbers, stored};
use halo_kernels::bias::{accumulate, add};
use halo_kernels::gpu::{self, Dtype};

#[test]
fn a_bias_and_its_gradient_are_the_cpu_s() {
    let gpu = gpu();
    for dtype in DTYPES {
        for (n, o) in [(0, 3), (1, 1), (5, 33), (63, 300), (64, 64), (200, 20)] {
            let (b, b_host) = stored(&gpu, &numbers(o, 1), Dtype::F32);
            let (dy, dy_host) = stored(&gpu, &numbers(n * o, 2), dtype);
            let run = || {
                let (y, mut y_host) = stored(&gpu, &numbers(n * o, 3), dtype);
                gpu::bias::add(&y, &b, n, o).unwrap();
                add(&mut y_host, &b_host, n, o).unwrap();
                close(&y, &y_host, 1e-6);
                let (db, mut db_host) = stored(&gpu, &numbers(o, 4), Dtype::F32);
                gpu::bias::accumulate(&dy, &db, n, o).unwrap();
                accumulate(&dy_host, &mut db_host, n, o).unwrap();
                close(&db, &db_host, 1e-5);
                [bits(&y), bits(&db)]
            };
            assert!(run() == run());
        }
    }
}
