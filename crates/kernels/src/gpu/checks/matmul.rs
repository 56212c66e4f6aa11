use super::{DTYPES, deviation, numbers, poisoned, stored};
use crate::gpu::{self, Dtype, Gpu};
use crate::{Error, matmul};

/// Into the operands' dtype and into f32, with and without what was there.
pub(super) fn linear(gpu: &Gpu) -> Result<f64, Error> {
    let mut worst = 0f64;
    for dtype in DTYPES {
        for (output, (n, i, o)) in [(dtype, (5, 7, 11)), (Dtype::F32, (33, 64, 17))] {
            let (x, x_host) = stored(gpu, &numbers(n * i, 1), dtype)?;
            let (w, w_host) = stored(gpu, &numbers(o * i, 2), dtype)?;
            let (dy, dy_host) = stored(gpu, &numbers(n * o, 3), dtype)?;

            let (y, mut y_host) = (poisoned(gpu, output, n * o)?, vec![0.0; n * o]);
            gpu::matmul::linear(&x, &w, &y, n, i, o, 1.0, 0.0)?;
            matmul::linear(&x_host, &w_host, &mut y_host, n, i, o, 0.0)?;
            worst = worst.max(deviation(&y, &y_host)?);

            let (dx, mut dx_host) = stored(gpu, &numbers(n * i, 4), output)?;
            gpu::matmul::linear_dx(&dy, &w, &dx, n, i, o, 1.0, 1.0)?;
            matmul::linear_dx(&dy_host, &w_host, &mut dx_host, n, i, o, 1.0)?;
            worst = worst.max(deviation(&dx, &dx_host)?);

            let (dw, mut dw_host) = stored(gpu, &numbers(o * i, 5), output)?;
            gpu::matmul::linear_dw(&dy, &x, &dw, n, i, o, 0.5)?;
            matmul::linear_dw(&dy_host, &x_host, &mut dw_host, n, i, o, 0.5)?;
            worst = worst.max(deviation(&dw, &dw_host)?);
        }
    }
    Ok(worst)
}
