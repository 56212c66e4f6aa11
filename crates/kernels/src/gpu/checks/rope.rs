use super::data::{DTYPES, indices, numbers, stored};
use super::output::{Output, close, compare, worst};
use crate::Error;
use crate::gpu::{self, Gpu};
use crate::rope::{self, RopeTable};

const POSITIONS: usize = 300;

/// (n, heads, half).
const SHAPES: [(usize, usize, usize); 6] = [
    (0, 1, 1),
    (1, 1, 1),
    (5, 3, 4),
    (7, 2, 65),
    (3, 9, 64),
    (130, 14, 32),
];

/// Forward and its transpose.
pub(super) fn apply(gpu: &Gpu) -> Result<f64, Error> {
    worst(&DTYPES, &SHAPES, |dtype, (n, heads, half)| {
        let frequency = |i| 1e4f32.powf(-(i as f32) / half as f32);
        let inv_freq: Vec<f32> = (0..half).map(frequency).collect();
        let table_host = RopeTable::new(&inv_freq, POSITIONS);
        let table = gpu::rope::Table::new(gpu, &table_host)?;
        let positions_host = indices(n, POSITIONS, 7);
        let positions = gpu.upload_u32(&positions_host)?;
        let (_, old) = stored(gpu, &numbers(n * heads * 2 * half, 1), dtype)?;
        let (mut there_host, mut back_host) = (old.clone(), old.clone());
        rope::apply(&mut there_host, heads, &positions_host, &table_host)?;
        rope::apply_transposed(&mut back_host, heads, &positions_host, &table_host)?;
        let run = || {
            let there = Output::holding(gpu, dtype, &old)?;
            gpu::rope::apply(&there, heads, &positions, &table)?;
            let back = Output::holding(gpu, dtype, &old)?;
            gpu::rope::apply_transposed(&back, heads, &positions, &table)?;
            Ok([there, back])
        };
        compare(gpu, run, [close(&there_host), close(&back_host)])
    })
}
