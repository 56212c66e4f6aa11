use super::data::{DTYPES, numbers, stored};
use super::output::{Output, close, compare, worst};
use crate::gpu::{self, Dtype, Gpu};
use crate::{Error, bias};

const SHAPES: [(usize, usize); 7] = [
    (0, 3),
    (1, 1),
    (5, 33),
    (63, 300),
    (64, 64),
    (200, 20),
    (140, 1000),
];

pub(super) fn add(gpu: &Gpu) -> Result<f64, Error> {
    worst(&DTYPES, &SHAPES, |dtype, (n, o)| {
        let (b, b_host) = stored(gpu, &numbers(o, 1), Dtype::F32)?;
        let (_, old) = stored(gpu, &numbers(n * o, 3), dtype)?;
        let mut y_host = old.clone();
        bias::add(&mut y_host, &b_host, n, o)?;
        let run = || {
            let y = Output::holding(gpu, dtype, &old)?;
            gpu::bias::add(&y, &b, n, o)?;
            Ok([y])
        };
        compare(gpu, run, [close(&y_host)])
    })
}

/// Added to what is there.
pub(super) fn accumulate(gpu: &Gpu) -> Result<f64, Error> {
    worst(&DTYPES, &SHAPES, |dtype, (n, o)| {
        let (dy, dy_host) = stored(gpu, &numbers(n * o, 2), dtype)?;
        let old = numbers(o, 4);
        let mut db_host = old.clone();
        bias::accumulate(&dy_host, &mut db_host, n, o)?;
        let run = || {
            let db = Output::holding(gpu, Dtype::F32, &old)?;
            gpu::bias::accumulate(&dy, &db, n, o)?;
            Ok([db])
        };
        compare(gpu, run, [close(&db_host)])
    })
}
