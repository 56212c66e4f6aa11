use crate::support::{DTYPES, close, gpu, numbers, poisoned, stored};
use halo_kernels::gpu::{Dtype, elementwise};

#[test]
fn every_element_is_done_once() {
    let gpu = gpu();
    for dtype in DTYPES {
        for n in [0, 1, 2047, 2048, 2049, 5000] {
            let (y, y_host) = stored(&gpu, &numbers(n, 2), dtype);
            let fresh = || stored(&gpu, &numbers(n, 1), dtype);
            let expect = |f: &dyn Fn(f32, f32) -> f32| -> Vec<f32> {
                let (_, x) = fresh();
                x.iter().zip(&y_host).map(|(x, y)| f(*x, *y)).collect()
            };
            let (x, _) = fresh();
            elementwise::add(&x, &y).unwrap();
            close(&x, &expect(&|x, y| x + y), 1e-6);
            let (x, _) = fresh();
            elementwise::scale(&x, 0.3).unwrap();
            close(&x, &expect(&|x, _| x * 0.3), 1e-6);
            let (x, _) = fresh();
            elementwise::mix(&x, &y, 0.25).unwrap();
            close(&x, &expect(&|x, y| 0.25 * y + 0.75 * x), 1e-6);
            let x = poisoned(&gpu, dtype, n);
            elementwise::fill(&x, 1.5).unwrap();
            assert_eq!(x.download().unwrap(), vec![1.5; n]);
        }
    }
}

#[test]
fn conversion_rounds_as_an_upload_does() {
    let gpu = gpu();
    let values = numbers(3000, 5);
    let x = gpu.upload(&values).unwrap();
    let (narrow, wide) = (
        poisoned(&gpu, Dtype::Bf16, 3000),
        poisoned(&gpu, Dtype::F32, 3000),
    );
    elementwise::convert(&x, &narrow).unwrap();
    elementwise::convert(&narrow, &wide).unwrap();
    let (_, rounded) = stored(&gpu, &values, Dtype::Bf16);
    assert_eq!(narrow.download().unwrap(), rounded);
    assert_eq!(wide.download().unwrap(), rounded);
    let same = poisoned(&gpu, Dtype::F32, 3000);
    elementwise::convert(&x, &same).unwrap();
    assert_eq!(same.download().unwrap(), values);
    let error = elementwise::convert(&narrow, &poisoned(&gpu, Dtype::Bf16, 3000)).unwrap_err();
    assert!(
        error.to_string().contains("`y` is Bf16, expected F32"),
        "{error}"
    );
}
