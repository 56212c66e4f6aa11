use crate::support::gpu;
use halo_kernels::gpu::{Dtype, Gpu};

#[test]
fn numbers_come_back_rounded_to_nearest_even() {
    let gpu = gpu();
    let values = [
        1.0,
        -2.5,
        1.003_906_3,
        1.011_718_8,
        f32::MAX,
        f32::INFINITY,
        0.0,
        -0.0,
    ];
    assert_eq!(gpu.upload(&values).unwrap().download().unwrap(), values);
    let rounded = gpu
        .upload_as(&values, Dtype::Bf16)
        .unwrap()
        .download()
        .unwrap();
    // two ties: to the even neighbour below, and above; the largest float rounds to infinity
    assert_eq!(&rounded[..4], [1.0, -2.5, 1.0, 1.015_625]);
    assert_eq!(&rounded[4..7], [f32::INFINITY, f32::INFINITY, 0.0]);
    let nan = gpu.upload_as(&[f32::NAN], Dtype::Bf16).unwrap();
    assert!(nan.download().unwrap()[0].is_nan());
    assert_eq!(
        gpu.upload_u32(&[7, 9]).unwrap().download_u32().unwrap(),
        [7, 9]
    );
}

#[test]
fn parts_share_the_memory_and_end_with_it() {
    let gpu = gpu();
    let all = gpu.upload(&[1.0, 2.0, 3.0, 4.0]).unwrap();
    let part = all.narrow(1, 2).unwrap();
    part.write(&[8.0, 9.0]).unwrap();
    assert_eq!(all.download().unwrap(), [1.0, 8.0, 9.0, 4.0]);
    part.zero().unwrap();
    assert_eq!(all.download().unwrap(), [1.0, 0.0, 0.0, 4.0]);
    assert!(all.narrow(3, 2).unwrap_err().is_shape());
    drop(all);
    assert_eq!(gpu.memory().unwrap().in_use, 16);
    drop(part);
    assert_eq!(gpu.memory().unwrap().in_use, 0);
    assert_eq!(gpu.memory().unwrap().peak, 16);
}

#[test]
fn too_little_memory_is_an_error_that_leaves_the_device_usable() {
    let gpu = Gpu::emulated_with(100).unwrap();
    let error = gpu.zeros(Dtype::F32, 26).unwrap_err();
    assert!(error.is_out_of_memory());
    assert!(
        error
            .to_string()
            .contains("asked for 104 bytes, 100 of 100 are free"),
        "{error}"
    );
    gpu.zeros(Dtype::F32, 25).unwrap();
}
