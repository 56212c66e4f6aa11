use super::data::{DTYPES, indices, numbers, rounded, stored};
use super::output::{Output, close, compare, exact, worst};
use crate::gpu::{self, Dtype, Gpu};
use crate::{Error, embedding};

/// (n, v, d): ids that repeat, and rows that no id names.
const SHAPES: [(usize, usize, usize); 6] = [
    (0, 3, 2),
    (1, 1, 1),
    (50, 7, 5),
    (300, 900, 33),
    (40, 5, 300),
    (700, 50, 576),
];

/// Rows are gathered bit for bit.
pub(super) fn forward(gpu: &Gpu) -> Result<f64, Error> {
    worst(&DTYPES, &SHAPES, |dtype, (n, v, d)| {
        let ids_host = indices(n, v, 3);
        let ids = gpu.upload_u32(&ids_host)?;
        let (table, table_host) = stored(gpu, &numbers(v * d, 1), dtype)?;
        let mut out_host = vec![0.0; n * d];
        embedding::forward(&ids_host, &table_host, &mut out_host, d)?;
        let run = || {
            let out = Output::poisoned(gpu, dtype, n * d)?;
            gpu::embedding::forward(&ids, &table, &out, d)?;
            Ok([out])
        };
        compare(gpu, run, [exact(&out_host)])
    })
}

/// Into the gradient bank and into a gradient of activations.
pub(super) fn backward(gpu: &Gpu) -> Result<f64, Error> {
    worst(&DTYPES, &SHAPES, |dtype, (n, v, d)| {
        let ids = indices(n, v, 3);
        let runs = gpu::embedding::Runs::new(gpu, &ids)?;
        let (dout, dout_host) = stored(gpu, &numbers(n * d, 1), dtype)?;
        worst(&[dtype, Dtype::F32], &[()], |into, ()| {
            let old = rounded(&numbers(v * d, 2), into);
            let mut dtable_host = old.clone();
            embedding::backward(&ids, &dout_host, &mut dtable_host, d)?;
            let run = || {
                let dtable = Output::holding(gpu, into, &old)?;
                gpu::embedding::backward(&runs, &dout, &dtable, d)?;
                Ok([dtable])
            };
            compare(gpu, run, [close(&dtable_host)])
        })
    })
}
