use super::data::{DTYPES, numbers, stored};
use super::output::{Output, close, compare, worst};
use crate::gpu::{self, Dtype, Gpu};
use crate::{Error, rms_norm};

const SHAPES: [(usize, usize); 9] = [
    (0, 8),
    (1, 1),
    (1, 31),
    (3, 33),
    (65, 64),
    (130, 20),
    (2, 257),
    (5, 1000),
    (9, 4096),
];
const EPS: f32 = 1e-5;

pub(super) fn forward(gpu: &Gpu) -> Result<f64, Error> {
    worst(&DTYPES, &SHAPES, |dtype, (n, d)| {
        let (x, x_host) = stored(gpu, &numbers(n * d, 1), dtype)?;
        let (w, w_host) = stored(gpu, &numbers(d, 2), Dtype::F32)?;
        let (mut y_host, mut rstd_host) = (vec![0.0; n * d], vec![0.0; n]);
        rms_norm::forward(&x_host, &w_host, EPS, &mut y_host, &mut rstd_host, n, d)?;
        let run = || {
            let y = Output::poisoned(gpu, dtype, n * d)?;
            let rstd = Output::poisoned(gpu, Dtype::F32, n)?;
            gpu::rms_norm::forward(&x, &w, EPS, &y, &rstd, n, d)?;
            Ok([y, rstd])
        };
        compare(gpu, run, [close(&y_host), close(&rstd_host)])
    })
}

/// The sum is normed as it is stored.
pub(super) fn forward_added(gpu: &Gpu) -> Result<f64, Error> {
    worst(&DTYPES, &SHAPES, |dtype, (n, d)| {
        let (x, x_host) = stored(gpu, &numbers(n * d, 1), dtype)?;
        let (add, add_host) = stored(gpu, &numbers(n * d, 3), dtype)?;
        let (w, w_host) = stored(gpu, &numbers(d, 2), Dtype::F32)?;
        let run = || {
            let sum = Output::poisoned(gpu, dtype, n * d)?;
            let y = Output::poisoned(gpu, dtype, n * d)?;
            let rstd = Output::poisoned(gpu, Dtype::F32, n)?;
            gpu::rms_norm::forward_added(&x, &add, &sum, &w, EPS, &y, &rstd, n, d)?;
            Ok([sum, y, rstd])
        };
        let added: Vec<f32> = x_host.iter().zip(&add_host).map(|(x, y)| x + y).collect();
        let sum = run()?[0].download()?;
        let (mut y_host, mut rstd_host) = (vec![0.0; n * d], vec![0.0; n]);
        rms_norm::forward(&sum, &w_host, EPS, &mut y_host, &mut rstd_host, n, d)?;
        compare(gpu, run, [close(&added), close(&y_host), close(&rstd_host)])
    })
}

/// Added to what is there; with and without the weight's gradient.
pub(super) fn backward(gpu: &Gpu) -> Result<f64, Error> {
    worst(&DTYPES, &SHAPES, |dtype, (n, d)| {
        let (x, x_host) = stored(gpu, &numbers(n * d, 1), dtype)?;
        let (w, w_host) = stored(gpu, &numbers(d, 2), Dtype::F32)?;
        let (dy, dy_host) = stored(gpu, &numbers(n * d, 3), dtype)?;
        let (mut y, mut rstd_host) = (vec![0.0; n * d], vec![0.0; n]);
        rms_norm::forward(&x_host, &w_host, EPS, &mut y, &mut rstd_host, n, d)?;
        let rstd = gpu.upload(&rstd_host)?;
        let (_, dx_old) = stored(gpu, &numbers(n * d, 4), dtype)?;
        let dw_old = numbers(d, 5);
        let (mut dx_host, mut dw_host) = (dx_old.clone(), dw_old.clone());
        let dw_out = Some(&mut dw_host[..]);
        rms_norm::backward(
            &x_host,
            &w_host,
            &rstd_host,
            &dy_host,
            &mut dx_host,
            dw_out,
            n,
            d,
        )?;
        let run = || {
            let dx = Output::holding(gpu, dtype, &dx_old)?;
            let dw = Output::holding(gpu, Dtype::F32, &dw_old)?;
            let alone = Output::holding(gpu, dtype, &dx_old)?;
            gpu::rms_norm::backward(&x, &w, &rstd, &dy, &dx, Some(&dw), n, d)?;
            gpu::rms_norm::backward(&x, &w, &rstd, &dy, &alone, None, n, d)?;
            Ok([dx, dw, alone])
        };
        compare(
            gpu,
            run,
            [close(&dx_host), close(&dw_host), close(&dx_host)],
        )
    })
}
