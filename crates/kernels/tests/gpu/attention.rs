use crate::ops::layouts::{Inputs, inputs, shape};
use crate::ops::support::{Rng, close_to};
use crate::support::{gpu, poisoned};
use halo_kernels::attention::{Layout, Shape};
use halo_kernels::gpu::attention::{Plan, backward, forward};
use halo_kernels::gpu::checks::{DTYPES, trie};
use halo_kernels::gpu::{Dtype, Gpu, Slice};

const NAMES: [&str; 5] = ["o", "lse", "dq", "dk", "dv"];

/// o, lse, dq, dk, dv on the device over poisoned memory.
fn run(gpu: &Gpu, i: &Inputs, dtype: Dtype, layout: &Layout, shape: &Shape) -> [Slice; 5] {
    let [q, k, v, d_o] =
        [&i.q, &i.k, &i.v, &i.d_o].map(|values| gpu.upload_as(values, dtype).unwrap());
    let (o, lse) = (
        poisoned(gpu, dtype, q.len()),
        poisoned(gpu, Dtype::F32, q.len() / shape.head_dim),
    );
    let [dq, dk, dv] = [&q, &k, &v].map(|like| poisoned(gpu, dtype, like.len()));
    let plan = Plan::new(gpu, layout, shape).unwrap();
    forward(&q, &k, &v, &o, &lse, &plan, shape).unwrap();
    backward(&q, &k, &v, &o, &lse, &d_o, &dq, &dk, &dv, &plan, shape).unwrap();
    [o, lse, dq, dk, dv]
}

#[test]
fn a_pack_without_rows_launches_nothing() {
    let gpu = gpu();
    let shape = shape(2, 1, 64);
    let layout = Layout {
        segments: vec![],
        window: None,
    };
    let i = inputs(&mut Rng(36), 3, &shape, 1.0);
    for dtype in DTYPES {
        for (name, slice) in NAMES.iter().zip(run(&gpu, &i, dtype, &layout, &shape)) {
            let untouched = slice.download().unwrap().iter().all(|x| x.is_nan());
            assert!(untouched, "{name} {dtype:?}");
        }
    }
}

#[test]
fn large_scores_stay_finite() {
    let (gpu, mut rng) = (gpu(), Rng(37));
    let (layout, shape) = (trie(None), shape(1, 1, 64));
    let i = inputs(&mut rng, layout.rows(), &shape, 60.0);
    for dtype in DTYPES {
        for (name, slice) in NAMES.iter().zip(run(&gpu, &i, dtype, &layout, &shape)) {
            let finite = slice.download().unwrap().iter().all(|x| x.is_finite());
            assert!(finite, "{name} {dtype:?}");
        }
    }
}

#[test]
fn slices_that_start_anywhere_take_the_plain_form() {
    let (gpu, mut rng) = (gpu(), Rng(39));
    let (layout, shape) = (trie(None), shape(1, 1, 64));
    let n = layout.rows();
    let i = inputs(&mut rng, n, &shape, 1.0);
    let [aligned, shifted] = [0, 1].map(|start| {
        let stored = |values: &[f32]| gpu.upload_as(values, Dtype::Bf16).unwrap();
        let q = stored(&[vec![0.0; start], i.q.clone()].concat());
        let q = q.narrow(start, i.q.len()).unwrap();
        let [k, v] = [&i.k, &i.v].map(|values| stored(values));
        let o = poisoned(&gpu, Dtype::Bf16, q.len());
        let lse = poisoned(&gpu, Dtype::F32, n);
        let plan = Plan::new(&gpu, &layout, &shape).unwrap();
        forward(&q, &k, &v, &o, &lse, &plan, &shape).unwrap();
        o.download().unwrap()
    });
    let want: Vec<f64> = aligned.iter().map(|&x| f64::from(x)).collect();
    close_to("o", &shifted, &want, 1.0, 1e-2);
}

#[test]
fn wrong_arguments_are_refused_before_anything_runs() {
    let gpu = gpu();
    let (layout, shape_) = (trie(None), shape(2, 1, 64));
    let plan = Plan::new(&gpu, &layout, &shape_).unwrap();
    let short = gpu.zeros(Dtype::Bf16, 64).unwrap();
    let lse = gpu.zeros(Dtype::F32, layout.rows() * 2).unwrap();
    let refuse = |q: &Slice, k: &Slice| {
        let result = forward(q, k, k, q, &lse, &plan, &shape_);
        result.unwrap_err().to_string()
    };
    let q = gpu.zeros(Dtype::Bf16, layout.rows() * 128).unwrap();
    assert!(refuse(&q, &short).contains("`k` has 64 elements, expected"));
    assert!(refuse(&q, &lse).contains("`k` is F32, expected Bf16"));
    let mut broken = layout.clone();
    broken.window = Some(0);
    assert!(Plan::new(&gpu, &broken, &shape_).unwrap_err().is_shape());
    broken.segments[1].kv = vec![0];
    assert!(Plan::new(&gpu, &broken, &shape_).unwrap_err().is_layout());
    let long = shape(1, 1, 257);
    let q = gpu.zeros(Dtype::Bf16, layout.rows() * 257).unwrap();
    let error = forward(&q, &q, &q, &q, &lse, &plan, &long).unwrap_err();
    assert!(
        error.to_string().contains("head_dim is above 256"),
        "{error}"
    );
}
