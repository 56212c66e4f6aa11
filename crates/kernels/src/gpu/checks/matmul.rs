use super::data::{DTYPES, numbers, rounded, stored};
use super::output::{Output, close, compare, worst};
use crate::gpu::{self, Dtype, Gpu};
use crate::{Error, matmul};

/// (n, i, o).
const SHAPES: [(usize, usize, usize); 5] = [
    (1, 1, 1),
    (5, 7, 11),
    (33, 64, 17),
    (130, 257, 65),
    (256, 128, 320),
];

/// Into the operands' dtype and into f32, over what was there and added to it.
pub(super) fn linear(gpu: &Gpu) -> Result<f64, Error> {
    worst(&DTYPES, &SHAPES, |dtype, (n, i, o)| {
        let (x, x_host) = stored(gpu, &numbers(n * i, 1), dtype)?;
        let (w, w_host) = stored(gpu, &numbers(o * i, 2), dtype)?;
        let (dy, dy_host) = stored(gpu, &numbers(n * o, 3), dtype)?;
        worst(&[dtype, Dtype::F32], &[()], |output, ()| {
            let old = |len, seed| rounded(&numbers(len, seed), output);
            let (y_old, dx_old, dw_old) = (old(n * o, 4), old(n * i, 5), old(o * i, 6));

            let mut y_host = vec![0.0; n * o];
            matmul::linear(&x_host, &w_host, &mut y_host, n, i, o, 0.0)?;
            let add = |y: &f32, old: &f32| 0.5 * y + old;
            let y_added: Vec<f32> = y_host
                .iter()
                .zip(&y_old)
                .map(|(y, old)| add(y, old))
                .collect();
            let mut dx_host = dx_old.clone();
            matmul::linear_dx(&dy_host, &w_host, &mut dx_host, n, i, o, 1.0)?;
            let mut dw_host = dw_old.clone();
            matmul::linear_dw(&dy_host, &x_host, &mut dw_host, n, i, o, 0.5)?;

            let run = || {
                let y = Output::poisoned(gpu, output, n * o)?;
                gpu::matmul::linear(&x, &w, &y, n, i, o, 1.0, 0.0)?;
                let added = Output::holding(gpu, output, &y_old)?;
                gpu::matmul::linear(&x, &w, &added, n, i, o, 0.5, 1.0)?;
                let dx = Output::holding(gpu, output, &dx_old)?;
                gpu::matmul::linear_dx(&dy, &w, &dx, n, i, o, 1.0, 1.0)?;
                let dw = Output::holding(gpu, output, &dw_old)?;
                gpu::matmul::linear_dw(&dy, &x, &dw, n, i, o, 0.5)?;
                Ok([y, added, dx, dw])
            };
            compare(
                gpu,
                run,
                [&y_host, &y_added, &dx_host, &dw_host].map(|x| close(x)),
            )
        })
    })
}
