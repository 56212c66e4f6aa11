use crate::ops::layouts::{Inputs, forest, inputs, oracle, shape};
use crate::ops::support::{Rng, close_to};
use crate::support::{DTYPES, gpu, poisoned, stored};
use halo_kernels::attention::{Layout, Seg, Shape};
use halo_kernels::gpu::attention::{Caches, Plan, append, backward, cached, forward};
use halo_kernels::gpu::{Dtype, Gpu, Slice};

const NAMES: [&str; 5] = ["o", "lse", "dq", "dk", "dv"];

/// o, lse, dq, dk, dv on the device over poisoned memory, and the inputs as the device has them.
fn run(
    gpu: &Gpu,
    i: &Inputs,
    dtype: Dtype,
    layout: &Layout,
    shape: &Shape,
) -> (Vec<Slice>, Inputs) {
    let (q, q_host) = stored(gpu, &i.q, dtype);
    let (k, k_host) = stored(gpu, &i.k, dtype);
    let (v, v_host) = stored(gpu, &i.v, dtype);
    let (d_o, d_o_host) = stored(gpu, &i.d_o, dtype);
    let rounded = Inputs {
        q: q_host,
        k: k_host,
        v: v_host,
        d_o: d_o_host,
    };
    let (o, lse) = (
        poisoned(gpu, dtype, q.len()),
        poisoned(gpu, Dtype::F32, q.len() / shape.head_dim),
    );
    let [dq, dk, dv] = [&q, &k, &v].map(|like| poisoned(gpu, dtype, like.len()));
    let plan = Plan::new(gpu, layout, shape).unwrap();
    forward(&q, &k, &v, &o, &lse, &plan, shape).unwrap();
    backward(&q, &k, &v, &o, &lse, &d_o, &dq, &dk, &dv, &plan, shape).unwrap();
    (vec![o, lse, dq, dk, dv], rounded)
}

/// Against the naive form on the rounded inputs; rows outside the layout stay as they were.
#[track_caller]
fn compare(gpu: &Gpu, i: &Inputs, dtype: Dtype, layout: &Layout, shape: &Shape) {
    let (got, rounded) = run(gpu, i, dtype, layout, shape);
    let want = oracle(&rounded, layout, shape);
    let tolerance = if dtype == Dtype::F32 { 1e-5 } else { 2e-2 };
    let (wide, narrow) = (shape.q_width(), shape.kv_width());
    let widths = [wide, shape.heads, wide, narrow, narrow];
    for ((name, width), (got, want)) in NAMES.iter().zip(widths).zip(got.iter().zip(&want)) {
        let got = got.download().unwrap();
        let (inside, outside) = got.split_at(layout.rows() * width);
        let name = format!("{name} {dtype:?} {shape:?}");
        close_to(&name, inside, &want[..inside.len()], 1.0, tolerance);
        let untouched = outside.iter().all(|x| x.is_nan());
        assert!(untouched, "{name} was written outside the layout");
    }
}

fn seg(first: usize, rows: usize, pos0: usize, kv: &[usize], tree: usize) -> Seg {
    Seg {
        rows: first..first + rows,
        pos0,
        kv: kv.to_vec(),
        tree,
    }
}

/// A trie of three levels whose tiles have 65, 1, 64, 0 and 63 rows, and a tree of one row.
fn trie(window: Option<usize>) -> Layout {
    Layout {
        segments: vec![
            seg(0, 65, 0, &[0], 0),
            seg(65, 1, 65, &[0, 1], 0),
            seg(66, 64, 65, &[0, 2], 0),
            seg(130, 0, 66, &[0, 1, 3], 0),
            seg(130, 63, 129, &[0, 2, 4], 0),
            seg(193, 1, 5, &[5], 1),
        ],
        window,
    }
}

#[test]
fn every_head_shape_equals_the_naive_form() {
    let (gpu, mut rng) = (gpu(), Rng(31));
    for (heads, kv_heads, e) in [
        (2, 2, 64),
        (2, 1, 80),
        (4, 1, 32),
        (7, 1, 16),
        (2, 1, 128),
        (1, 1, 96),
    ] {
        let shape = shape(heads, kv_heads, e);
        let layout = trie(None);
        let i = inputs(&mut rng, layout.rows() + 2, &shape, 1.0);
        for dtype in DTYPES {
            compare(&gpu, &i, dtype, &layout, &shape);
        }
    }
}

#[test]
fn head_dimensions_that_no_tensor_core_form_has_take_the_plain_one() {
    let (gpu, mut rng) = (gpu(), Rng(32));
    for e in [1, 7, 20, 136, 256] {
        let shape = shape(2, 1, e);
        let layout = forest(&mut rng, 2, 3, 40, None);
        let i = inputs(&mut rng, layout.rows() + 1, &shape, 1.0);
        for dtype in DTYPES {
            compare(&gpu, &i, dtype, &layout, &shape);
        }
    }
}

#[test]
fn windows_hide_what_they_hide_on_the_cpu() {
    let (gpu, mut rng) = (gpu(), Rng(33));
    let shape = shape(2, 1, 16);
    for window in [1, 2, 17, 63, 64, 65, 100, 1 << 40] {
        let layout = trie(Some(window));
        let i = inputs(&mut rng, layout.rows(), &shape, 2.0);
        for dtype in DTYPES {
            compare(&gpu, &i, dtype, &layout, &shape);
        }
    }
}

#[test]
fn random_forests_equal_the_naive_form() {
    let (gpu, mut rng) = (gpu(), Rng(34));
    for _ in 0..12 {
        let (trees, segments) = (1 + rng.below(4), 1 + rng.below(5));
        let longest = [1, 4, 20, 90][rng.below(4)];
        let window = [None, None, Some(1), Some(17), Some(100)][rng.below(5)];
        let kv_heads = 1 + rng.below(2);
        let shape = shape(
            kv_heads * (1 + rng.below(3)),
            kv_heads,
            [8, 20, 64][rng.below(3)],
        );
        let layout = forest(&mut rng, trees, segments, longest, window);
        let rows = layout.rows() + rng.below(3);
        let i = inputs(&mut rng, rows, &shape, 1.0);
        for dtype in DTYPES {
            compare(&gpu, &i, dtype, &layout, &shape);
        }
    }
}

#[test]
fn gradient_rows_alone_have_a_backward_of_their_own() {
    let (gpu, mut rng) = (gpu(), Rng(35));
    let shape = shape(2, 1, 64);
    let whole = trie(None);
    let leading = Layout {
        segments: whole.segments[..2].to_vec(),
        window: None,
    };
    let i = inputs(&mut rng, whole.rows(), &shape, 1.0);
    for dtype in DTYPES {
        compare(&gpu, &i, dtype, &leading, &shape);
    }
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
        compare(&gpu, &i, dtype, &layout, &shape);
    }
}

#[test]
fn large_scores_stay_finite() {
    let (gpu, mut rng) = (gpu(), Rng(37));
    let (layout, shape) = (trie(None), shape(1, 1, 64));
    let i = inputs(&mut rng, layout.rows(), &shape, 60.0);
    for dtype in DTYPES {
        for (name, slice) in NAMES.iter().zip(run(&gpu, &i, dtype, &layout, &shape).0) {
            let finite = slice.download().unwrap().iter().all(|x| x.is_finite());
            assert!(finite, "{name} {dtype:?}");
        }
    }
}

#[test]
fn every_run_gives_the_same_bits() {
    let (gpu, mut rng) = (gpu(), Rng(38));
    let (layout, shape) = (forest(&mut rng, 2, 4, 70, None), shape(4, 2, 64));
    let i = inputs(&mut rng, layout.rows(), &shape, 1.0);
    for dtype in DTYPES {
        let again = || {
            let results = run(&gpu, &i, dtype, &layout, &shape).0;
            let bits = |x: &Slice| x.download().unwrap().iter().map(|x| x.to_bits()).collect();
            results.iter().map(bits).collect::<Vec<Vec<u32>>>()
        };
        let first = again();
        for _ in 0..3 {
            assert!(again() == first);
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
        let (q, _) = stored(&gpu, &[vec![0.0; start], i.q.clone()].concat(), Dtype::Bf16);
        let q = q.narrow(start, i.q.len()).unwrap();
        let [k, v] = [&i.k, &i.v].map(|x| stored(&gpu, x, Dtype::Bf16).0);
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
fn cached_attention_is_the_last_row_of_the_causal_one() {
    let (gpu, mut rng) = (gpu(), Rng(40));
    let (lengths, slots, capacity) = ([1, 2, 33, 50], [4, 0, 3, 1], 50);
    for (window, heads, kv_heads, e) in [
        (None, 4, 2, 16),
        (Some(5), 3, 1, 7),
        (Some(1), 2, 2, 64),
        (None, 2, 1, 128),
    ] {
        for dtype in DTYPES {
            let shape = shape(heads, kv_heads, e);
            let width = shape.kv_width();
            let [mut cache_k, mut cache_v] = [0, 1].map(|_| vec![f32::NAN; 5 * capacity * width]);
            let (mut q, mut k, mut v, mut want) = (vec![], vec![], vec![], vec![]);
            for (&n, slot) in lengths.iter().zip(slots) {
                let i = inputs(&mut rng, n, &shape, 1.0);
                let round = |x: &[f32]| stored(&gpu, x, dtype).1;
                let i = Inputs {
                    q: round(&i.q),
                    k: round(&i.k),
                    v: round(&i.v),
                    d_o: i.d_o,
                };
                let layout = Layout {
                    segments: vec![seg(0, n, 0, &[0], 0)],
                    window,
                };
                let (last, at) = (n - 1, slot * capacity * width);
                want.extend_from_slice(&oracle(&i, &layout, &shape)[0][last * shape.q_width()..]);
                q.extend_from_slice(&i.q[last * shape.q_width()..]);
                k.extend_from_slice(&i.k[last * width..]);
                v.extend_from_slice(&i.v[last * width..]);
                cache_k[at..at + last * width].copy_from_slice(&i.k[..last * width]);
                cache_v[at..at + last * width].copy_from_slice(&i.v[..last * width]);
            }
            let [q, k, v, cache_k, cache_v] =
                [&q, &k, &v, &cache_k, &cache_v].map(|x| gpu.upload_as(x, dtype).unwrap());
            let caches = Caches {
                k: cache_k,
                v: cache_v,
                capacity,
            };
            let before = gpu.upload_u32(&lengths.map(|n| n as u32 - 1)).unwrap();
            let slots = gpu.upload_u32(&slots.map(|s| s as u32)).unwrap();
            let o = poisoned(&gpu, dtype, q.len());
            append(&k, &v, &caches, &before, &slots, &shape).unwrap();
            cached(&q, &caches, &before, &slots, &o, window, &shape).unwrap();
            let tolerance = if dtype == Dtype::F32 { 1e-5 } else { 1e-2 };
            close_to("o", &o.download().unwrap(), &want, 1.0, tolerance);
        }
    }
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
