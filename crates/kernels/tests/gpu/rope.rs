use crate::support::{DTYPES, bits, close, gpu, indices, numbers, stored};
use halo_kernels::gpu;
use halo_kernels::rope::{RopeTable, apply, apply_transposed};

#[test]
fn both_directions_are_the_cpu_s() {
    let gpu = gpu();
    for dtype in DTYPES {
        for (n, heads, half) in [(0, 1, 1), (1, 1, 1), (5, 3, 4), (7, 2, 65), (3, 9, 64)] {
            let inv_freq: Vec<f32> = (0..half)
                .map(|i| 1e4f32.powf(-(i as f32) / half as f32))
                .collect();
            let host = RopeTable::new(&inv_freq, 300);
            let table = gpu::rope::Table::new(&gpu, &host).unwrap();
            assert_eq!((table.positions(), table.head_dim()), (300, 2 * half));
            let positions = indices(n, 300, 7);
            let there = gpu.upload_u32(&positions).unwrap();
            let run = || {
                let (x, mut x_host) = stored(&gpu, &numbers(n * heads * 2 * half, 1), dtype);
                gpu::rope::apply(&x, heads, &there, &table).unwrap();
                apply(&mut x_host, heads, &positions, &host).unwrap();
                close(&x, &x_host, 1e-6);
                let (y, mut y_host) = stored(&gpu, &numbers(n * heads * 2 * half, 2), dtype);
                gpu::rope::apply_transposed(&y, heads, &there, &table).unwrap();
                apply_transposed(&mut y_host, heads, &positions, &host).unwrap();
                close(&y, &y_host, 1e-6);
                (bits(&x), bits(&y))
            };
            assert!(run() == run());
        }
    }
}

#[test]
fn a_position_outside_the_table_makes_its_row_alone_no_numbers() {
    let gpu = gpu();
    let table = gpu::rope::Table::new(&gpu, &RopeTable::new(&[1.0, 0.1], 3)).unwrap();
    let positions = gpu.upload_u32(&[2, 3]).unwrap();
    let x = gpu.upload(&numbers(8, 1)).unwrap();
    gpu::rope::apply(&x, 1, &positions, &table).unwrap();
    let x = x.download().unwrap();
    assert!(x[..4].iter().all(|x| x.is_finite()) && x[4..].iter().all(|x| x.is_nan()));
    let error = gpu::rope::apply(&gpu.upload(&[0.0; 7]).unwrap(), 1, &positions, &table)
        .unwrap_err()
        .to_string();
    assert!(error.contains("`x` has 7 elements, expected 8"), "{error}");
}
