use super::{DTYPES, deviation, numbers, poisoned, stored};
use crate::gpu::{self, Dtype, Gpu};
use crate::{Error, rms_norm};

const SHAPES: [(usize, usize); 7] = [
    (1, 1),
    (1, 31),
    (3, 33),
    (65, 64),
    (130, 20),
    (2, 257),
    (5, 1000),
];
const EPS: f32 = 1e-5;

pub(super) fn forward(gpu: &Gpu) -> Result<f64, Error> {
    let mut worst = 0f64;
    for dtype in DTYPES {
        for (n, d) in SHAPES {
            let (x, x_host) = stored(gpu, &numbers(n * d, 1), dtype)?;
            let (w, w_host) = stored(gpu, &numbers(d, 2), Dtype::F32)?;
            let (mut y_host, mut rstd_host) = (vec![0.0; n * d], vec![0.0; n]);
            rms_norm::forward(&x_host, &w_host, EPS, &mut y_host, &mut rstd_host, n, d)?;
            let y = poisoned(gpu, dtype, n * d)?;
            let rstd = poisoned(gpu, Dtype::F32, n)?;
            gpu::rms_norm::forward(&x, &w, EPS, &y, &rstd, n, d)?;
            worst = worst.max(deviation(&y, &y_host)?);
            worst = worst.max(deviation(&rstd, &rstd_host)?);
        }
    }
    Ok(worst)
}

/// The sum is normed as it is stored.
pub(super) fn forward_added(gpu: &Gpu) -> Result<f64, Error> {
    let mut worst = 0f64;
    for dtype in DTYPES {
        let (n, d) = (7, 70);
        let (x, x_host) = stored(gpu, &numbers(n * d, 1), dtype)?;
        let (add, add_host) = stored(gpu, &numbers(n * d, 3), dtype)?;
        let (w, w_host) = stored(gpu, &numbers(d, 2), Dtype::F32)?;
        let sum = poisoned(gpu, dtype, n * d)?;
        let y = poisoned(gpu, dtype, n * d)?;
        let rstd = poisoned(gpu, Dtype::F32, n)?;
        gpu::rms_norm::forward_added(&x, &add, &sum, &w, EPS, &y, &rstd, n, d)?;
        let added: Vec<f32> = x_host.iter().zip(&add_host).map(|(x, y)| x + y).collect();
        worst = worst.max(deviation(&sum, &added)?);
        let (mut y_host, mut rstd_host) = (vec![0.0; n * d], vec![0.0; n]);
        let sum_host = sum.download()?;
        rms_norm::forward(&sum_host, &w_host, EPS, &mut y_host, &mut rstd_host, n, d)?;
        worst = worst.max(deviation(&y, &y_host)?);
        worst = worst.max(deviation(&rstd, &rstd_host)?);
    }
    Ok(worst)
}

/// Added to what is there.
pub(super) fn backward(gpu: &Gpu) -> Result<f64, Error> {
    let mut worst = 0f64;
    for dtype in DTYPES {
        for (n, d) in SHAPES {
            let (x, x_host) = stored(gpu, &numbers(n * d, 1), dtype)?;
            let (w, w_host) = stored(gpu, &numbers(d, 2), Dtype::F32)?;
            let (dy, dy_host) = stored(gpu, &numbers(n * d, 3), dtype)?;
            let (mut y, mut r) = (vec![0.0; n * d], vec![0.0; n]);
            rms_norm::forward(&x_host, &w_host, EPS, &mut y, &mut r, n, d)?;
            let rstd = gpu.upload(&r)?;
            let (dx, mut dx_host) = stored(gpu, &numbers(n * d, 4), dtype)?;
            let (dw, mut dw_host) = stored(gpu, &numbers(d, 5), Dtype::F32)?;
            gpu::rms_norm::backward(&x, &w, &rstd, &dy, &dx, Some(&dw), n, d)?;
            let dw_out = Some(&mut dw_host[..]);
            rms_norm::backward(&x_host, &w_host, &r, &dy_host, &mut dx_host, dw_out, n, d)?;
            worst = worst.max(deviation(&dx, &dx_host)?);
            worst = worst.max(deviation(&dw, &dw_host)?);
        }
    }
    Ok(worst)
}
