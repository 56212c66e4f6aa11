use crate::support::gpu;
use halo_kernels::gpu::{self, checks::numbers};
use halo_kernels::rope::RopeTable;

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
