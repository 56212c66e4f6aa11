use super::data::{DTYPES, numbers, rounded, stored};
use super::output::{Output, close, compare, exact, worst};
use crate::Error;
use crate::gpu::{self, Dtype, Gpu};

/// Around the edges of a block.
const LENGTHS: [usize; 7] = [0, 1, 2047, 2048, 2049, 5000, 20_003];

/// Every element is done once.
pub(super) fn arithmetic(gpu: &Gpu) -> Result<f64, Error> {
    worst(&DTYPES, &LENGTHS, |dtype, n| {
        let (_, old) = stored(gpu, &numbers(n, 1), dtype)?;
        let (y, y_host) = stored(gpu, &numbers(n, 2), dtype)?;
        let pairs = || old.iter().zip(&y_host);
        let sum: Vec<f32> = pairs().map(|(x, y)| x + y).collect();
        let scaled: Vec<f32> = old.iter().map(|x| x * 0.3).collect();
        let mixed: Vec<f32> = pairs().map(|(x, y)| 0.25 * y + 0.75 * x).collect();
        let filled = vec![1.5; n];
        let run = || {
            let x = || Output::holding(gpu, dtype, &old);
            let [a, b, c] = [x()?, x()?, x()?];
            let d = Output::poisoned(gpu, dtype, n)?;
            gpu::elementwise::add(&a, &y)?;
            gpu::elementwise::scale(&b, 0.3)?;
            gpu::elementwise::mix(&c, &y, 0.25)?;
            gpu::elementwise::fill(&d, 1.5)?;
            Ok([a, b, c, d])
        };
        compare(
            gpu,
            run,
            [close(&sum), close(&scaled), close(&mixed), exact(&filled)],
        )
    })
}

/// Rounds as the host does, ties to even.
pub(super) fn conversion(gpu: &Gpu) -> Result<f64, Error> {
    // Halfway between two neighbours above 1, of which the lower or the upper one is even.
    let ties = [1.0, 3.0].map(|k| 1.0 + k / 256.0);
    let ties = ties.into_iter().flat_map(|tie| [tie, -tie]);
    worst(&[Dtype::F32], &LENGTHS, |_, n| {
        let values: Vec<f32> = numbers(n, 5).into_iter().chain(ties.clone()).collect();
        let (x, n) = (gpu.upload(&values)?, values.len());
        let narrowed = rounded(&values, Dtype::Bf16);
        let run = || {
            let narrow = Output::poisoned(gpu, Dtype::Bf16, n)?;
            let [wide, same] = [
                Output::poisoned(gpu, Dtype::F32, n)?,
                Output::poisoned(gpu, Dtype::F32, n)?,
            ];
            gpu::elementwise::convert(&x, &narrow)?;
            gpu::elementwise::convert(&narrow, &wide)?;
            gpu::elementwise::convert(&x, &same)?;
            Ok([narrow, wide, same])
        };
        compare(
            gpu,
            run,
            [exact(&narrowed), exact(&narrowed), exact(&values)],
        )
    })
}
