use super::data::{DTYPES, indices, numbers, stored};
use super::output::{
    Output, close, close_above, compare, compare_and_keep, deviation, exact, worst,
};
use crate::gpu::head::Entries;
use crate::gpu::{self, Dtype, Gpu, Slice};
use crate::{Error, head};

/// n rows of hidden states, d, v words, m entries, rows of a chunk; entries of one row need not be neighbours.
type Shape = (usize, usize, usize, usize, usize);

/// A vocabulary of one word has log-probabilities and gradients of 0: there, deviations are relative to 1.
const SHAPES: [Shape; 6] = [
    (1, 1, 1, 1, 1),
    (4, 3, 5, 9, 2),
    (40, 16, 700, 60, 7),
    (30, 96, 1537, 33, 8),
    (2, 8, 40, 50, 4),
    (5, 8, 100, 0, 4),
];

/// Log-probabilities, whether the vectors of a frozen head are asked for or not.
pub(super) fn logps(gpu: &Gpu) -> Result<f64, Error> {
    worst(&DTYPES, &SHAPES, |dtype, shape| {
        let (case, (_, d, _, m, chunk)) = (Case::new(gpu, dtype, shape)?, shape);
        let Case { h, w, entries, .. } = &case;
        let run = || {
            let fresh = || Output::poisoned(gpu, Dtype::F32, m);
            let [logps, lse, alone, lse_alone] = [fresh()?, fresh()?, fresh()?, fresh()?];
            let u = Output::poisoned(gpu, dtype, m * d)?;
            gpu::head::forward(h, w, d, entries, &logps, &lse, Some(&u), chunk)?;
            gpu::head::forward(h, w, d, entries, &alone, &lse_alone, None, chunk)?;
            Ok([logps, lse, alone, lse_alone])
        };
        let [logps, lse] = [&case.logps, &case.lse].map(|x| close_above(1.0, x));
        let (off, found) = compare_and_keep(gpu, run, [logps, lse, logps, lse])?;
        let [with, _, without, _] = found;
        Ok(off.max(deviation(&without, exact(&with.download()?))?))
    })
}

pub(super) fn log_collisions(gpu: &Gpu) -> Result<f64, Error> {
    worst(&DTYPES, &SHAPES, |dtype, shape| {
        let (case, (_, d, _, m, chunk)) = (Case::new(gpu, dtype, shape)?, shape);
        let Case { h, w, entries, .. } = &case;
        let mut out_host = vec![0.0; m];
        let (h_host, w_host) = (&case.h_host, &case.w_host);
        head::log_collisions(h_host, w_host, d, &case.rows, &case.lse, &mut out_host, 64)?;
        let lse = gpu.upload(&case.lse)?;
        let run = || {
            let out = Output::poisoned(gpu, Dtype::F32, m)?;
            gpu::head::log_collisions(h, w, d, entries, &lse, &out, chunk)?;
            Ok([out])
        };
        compare(gpu, run, [close_above(1.0, &out_host)])
    })
}

/// What a frozen head stores for its backward.
pub(super) fn stored_vectors(gpu: &Gpu, dtype: Dtype) -> Result<f64, Error> {
    worst(&[dtype], &SHAPES, |dtype, shape| {
        let (case, (_, d, _, m, chunk)) = (Case::new(gpu, dtype, shape)?, shape);
        let Case { h, w, entries, .. } = &case;
        let run = || {
            let fresh = || Output::poisoned(gpu, Dtype::F32, m);
            let [logps, lse] = [fresh()?, fresh()?];
            let u = Output::poisoned(gpu, dtype, m * d)?;
            gpu::head::forward(h, w, d, entries, &logps, &lse, Some(&u), chunk)?;
            Ok([u])
        };
        compare(gpu, run, [close_above(1.0, &case.u)])
    })
}

/// Added to what is there, from vectors as they are stored.
pub(super) fn backward_frozen(gpu: &Gpu) -> Result<f64, Error> {
    worst(&DTYPES, &SHAPES, |dtype, (n, d, v, m, _)| {
        let (rows, targets) = (indices(m, n, 1), indices(m, v, 2));
        let entries = Entries::new(gpu, &rows, &targets)?;
        let (u, u_host) = stored(gpu, &numbers(m * d, 8), dtype)?;
        let (g, g_host) = stored(gpu, &numbers(m, 5), Dtype::F32)?;
        let (_, old) = stored(gpu, &numbers(n * d, 6), dtype)?;
        let mut dh_host = old.clone();
        head::backward_frozen(&u_host, &g_host, &rows, &mut dh_host, d)?;
        let run = || {
            let dh = Output::holding(gpu, dtype, &old)?;
            gpu::head::backward_frozen(&u, &g, &entries, &dh, d)?;
            Ok([dh])
        };
        compare(gpu, run, [close(&dh_host)])
    })
}

/// Added to what is there, by the CPU's lse.
pub(super) fn backward_trained(gpu: &Gpu, dtype: Dtype) -> Result<f64, Error> {
    worst(&[dtype], &SHAPES, |dtype, shape| {
        let (case, (n, d, v, m, chunk)) = (Case::new(gpu, dtype, shape)?, shape);
        let Case { h, w, entries, .. } = &case;
        let (g, g_host) = stored(gpu, &numbers(m, 5), Dtype::F32)?;
        let (_, dh_old) = stored(gpu, &numbers(n * d, 6), dtype)?;
        let dw_old = numbers(v * d, 7);
        let (mut dh_host, mut dw_host) = (dh_old.clone(), dw_old.clone());
        head::backward_trained(
            &case.h_host,
            &case.w_host,
            d,
            &case.lse,
            &case.rows,
            &case.targets,
            &g_host,
            &mut dh_host,
            &mut dw_host,
            64,
        )?;
        let lse = gpu.upload(&case.lse)?;
        let run = || {
            let dh = Output::holding(gpu, dtype, &dh_old)?;
            let dw = Output::holding(gpu, Dtype::F32, &dw_old)?;
            gpu::head::backward_trained(h, w, d, &lse, entries, &g, &dh, &dw, chunk)?;
            Ok([dh, dw])
        };
        compare(gpu, run, [close(&dh_host), close(&dw_host)])
    })
}

/// Inputs of a shape, and what the CPU's forward makes of them.
struct Case {
    rows: Vec<u32>,
    targets: Vec<u32>,
    entries: Entries,
    h: Slice,
    h_host: Vec<f32>,
    w: Slice,
    w_host: Vec<f32>,
    logps: Vec<f32>,
    lse: Vec<f32>,
    u: Vec<f32>,
}

impl Case {
    fn new(gpu: &Gpu, dtype: Dtype, (n, d, v, m, _): Shape) -> Result<Case, Error> {
        let (rows, targets) = (indices(m, n, 1), indices(m, v, 2));
        let (h, h_host) = stored(gpu, &numbers(n * d, 3), dtype)?;
        let (w, w_host) = stored(gpu, &numbers(v * d, 4), dtype)?;
        let [mut logps, mut lse] = [0; 2].map(|_| vec![0.0; m]);
        let mut u = vec![0.0; m * d];
        let out = (&mut logps, &mut lse, Some(&mut u[..]));
        head::forward(
            &h_host, &w_host, d, &rows, &targets, out.0, out.1, out.2, 64,
        )?;
        Ok(Case {
            entries: Entries::new(gpu, &rows, &targets)?,
            rows,
            targets,
            h,
            h_host,
            w,
            w_host,
            logps,
            lse,
            u,
        })
    }
}
