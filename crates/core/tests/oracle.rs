//! Every op against plain differentiable candle: `candle-nn`'s slow paths and autograd, values and gradients.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use candle_core::{D, Device, Result, Tensor, Var};
use halo_kernels::{attention, bias, embedding, head, matmul, rms_norm, rope, swiglu};

/// Relative to the largest entry: both sides compute in f32, in different orders.
const TOLERANCE: f32 = 2e-5;

/// Numbers in ±1 that look random and are the same everywhere.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = halo_train::Rng::new(seed);
    (0..len)
        .map(|_| (2.0 * rng.uniform() - 1.0) as f32)
        .collect()
}

fn var(values: &[f32], shape: &[usize]) -> Var {
    Var::from_slice(values, shape, &Device::Cpu).unwrap()
}

fn assert_close(what: &str, ours: &[f32], theirs: &Tensor) {
    let theirs = theirs
        .contiguous()
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1::<f32>()
        .unwrap();
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let scale = theirs.iter().fold(1e-6f32, |max, x| max.max(x.abs()));
    for (i, (a, b)) in ours.iter().zip(&theirs).enumerate() {
        assert!(
            (a - b).abs() <= TOLERANCE * scale,
            "{what}[{i}]: {a}, candle has {b}"
        );
    }
}

/// Gradients of Σ y∘dy with respect to some variables.
fn gradients(y: &Tensor, dy: &[f32], vars: &[&Var]) -> Vec<Tensor> {
    let dy = Tensor::from_slice(dy, y.shape(), &Device::Cpu).unwrap();
    let grads = (y * dy).unwrap().sum_all().unwrap().backward().unwrap();
    vars.iter()
        .map(|var| {
            grads
                .get(var)
                .expect("candle gives every variable a gradient")
                .clone()
        })
        .collect()
}

#[test]
fn linear_and_bias() {
    let (n, i, o) = (7, 10, 6);
    let (x, w, b, dy) = (
        numbers(n * i, 1),
        numbers(o * i, 2),
        numbers(o, 3),
        numbers(n * o, 4),
    );
    let (vx, vw, vb) = (var(&x, &[n, i]), var(&w, &[o, i]), var(&b, &[o]));
    let y = vx
        .matmul(&vw.t().unwrap())
        .unwrap()
        .broadcast_add(&vb)
        .unwrap();
    let theirs = gradients(&y, &dy, &[&vx, &vw, &vb]);

    let mut ours = vec![f32::NAN; n * o];
    matmul::linear(&x, &w, &mut ours, n, i, o, 0.0).unwrap();
    bias::add(&mut ours, &b, n, o).unwrap();
    assert_close("y", &ours, &y);
    let (mut dx, mut dw, mut db) = (vec![f32::NAN; n * i], vec![0.0; o * i], vec![0.0; o]);
    matmul::linear_dx(&dy, &w, &mut dx, n, i, o, 0.0).unwrap();
    matmul::linear_dw(&dy, &x, &mut dw, n, i, o, 1.0).unwrap();
    bias::accumulate(&dy, &mut db, n, o).unwrap();
    for (what, ours, theirs) in [
        ("dx", dx, &theirs[0]),
        ("dw", dw, &theirs[1]),
        ("db", db, &theirs[2]),
    ] {
        assert_close(what, &ours, theirs);
    }
}

#[test]
fn rms_norm_is_the_slow_one_of_candle() {
    let (n, d, eps) = (5, 24, 1e-5);
    let (x, w, dy) = (numbers(n * d, 1), numbers(d, 2), numbers(n * d, 3));
    let (vx, vw) = (var(&x, &[n, d]), var(&w, &[d]));
    let y = candle_nn::ops::rms_norm_slow(&vx, &vw, eps).unwrap();
    let theirs = gradients(&y, &dy, &[&vx, &vw]);

    let (mut ours, mut rstd) = (vec![f32::NAN; n * d], vec![f32::NAN; n]);
    rms_norm::forward(&x, &w, eps, &mut ours, &mut rstd, n, d).unwrap();
    assert_close("y", &ours, &y);
    let (mut dx, mut dw) = (vec![0.0; n * d], vec![0.0; d]);
    rms_norm::backward(&x, &w, &rstd, &dy, &mut dx, Some(&mut dw), n, d).unwrap();
    assert_close("dx", &dx, &theirs[0]);
    assert_close("dw", &dw, &theirs[1]);
}

#[test]
fn rope_is_the_slow_one_of_candle() {
    let (n, heads, e) = (9, 3, 8);
    let inv_freq: Vec<f32> = (0..e / 2)
        .map(|i| 100f32.powf(-2.0 * i as f32 / e as f32))
        .collect();
    let (x, dy) = (numbers(n * heads * e, 1), numbers(n * heads * e, 2));
    let angles: Vec<f32> = (0..n)
        .flat_map(|p| inv_freq.iter().map(move |f| p as f32 * f))
        .collect();
    let angles = Tensor::from_vec(angles, (n, e / 2), &Device::Cpu).unwrap();
    let (cos, sin) = (angles.cos().unwrap(), angles.sin().unwrap());
    let vx = var(&x, &[n, heads, e]);
    // candle wants (batch, heads, positions, E).
    let layout = vx
        .transpose(0, 1)
        .unwrap()
        .contiguous()
        .unwrap()
        .unsqueeze(0)
        .unwrap();
    let y = candle_nn::rotary_emb::rope_slow(&layout, &cos, &sin).unwrap();
    let y = y
        .squeeze(0)
        .unwrap()
        .transpose(0, 1)
        .unwrap()
        .contiguous()
        .unwrap();
    let theirs = gradients(&y, &dy, &[&vx]);

    let table = rope::RopeTable::new(&inv_freq, n);
    let positions: Vec<u32> = (0..n as u32).collect();
    let mut ours = x.clone();
    rope::apply(&mut ours, heads, &positions, &table).unwrap();
    assert_close("y", &ours, &y);
    let mut dx = dy.clone();
    rope::apply_transposed(&mut dx, heads, &positions, &table).unwrap();
    assert_close("dx", &dx, &theirs[0]);
}

#[test]
fn swiglu_is_silu_times_up() {
    let (gate, up, dy) = (numbers(50, 1), numbers(50, 2), numbers(50, 3));
    let (vg, vu) = (var(&gate, &[50]), var(&up, &[50]));
    let y = (vg.silu().unwrap() * vu.as_tensor()).unwrap();
    let theirs = gradients(&y, &dy, &[&vg, &vu]);
    let mut ours = vec![f32::NAN; 50];
    swiglu::forward(&gate, &up, &mut ours).unwrap();
    assert_close("y", &ours, &y);
    let (mut dgate, mut dup) = (vec![f32::NAN; 50], vec![f32::NAN; 50]);
    swiglu::backward(&gate, &up, &dy, &mut dgate, &mut dup).unwrap();
    assert_close("dgate", &dgate, &theirs[0]);
    assert_close("dup", &dup, &theirs[1]);
}

#[test]
fn embedding_is_an_index_select() {
    let (v, d) = (6, 5);
    let ids = [3u32, 0, 3, 5];
    let (table, dy) = (numbers(v * d, 1), numbers(ids.len() * d, 2));
    let vt = var(&table, &[v, d]);
    let y = vt
        .index_select(&Tensor::new(&ids, &Device::Cpu).unwrap(), 0)
        .unwrap();
    let theirs = gradients(&y, &dy, &[&vt]);
    let mut ours = vec![f32::NAN; ids.len() * d];
    embedding::forward(&ids, &table, &mut ours, d).unwrap();
    assert_close("y", &ours, &y);
    let mut dtable = vec![0.0; v * d];
    embedding::backward(&ids, &dy, &mut dtable, d).unwrap();
    assert_close("dtable", &dtable, &theirs[0]);
}

/// A prompt of four rows, two branches of three and two; grouped queries; with and without a window.
#[test]
fn segment_attention_is_masked_softmax_attention() {
    let (h, k, e, n) = (4, 2, 6, 9);
    let positions = [0, 1, 2, 3, 4, 5, 6, 4, 5];
    let branch = [0, 0, 0, 0, 1, 1, 1, 2, 2];
    let segment = |rows, pos0, kv: &[usize]| attention::Seg {
        rows,
        pos0,
        kv: kv.to_vec(),
        tree: 0,
    };
    let shape = attention::Shape {
        heads: h,
        kv_heads: k,
        head_dim: e,
        scale: 1.0 / (e as f32).sqrt(),
    };
    for window in [None, Some(3)] {
        let layout = attention::Layout {
            segments: vec![
                segment(0..4, 0, &[0]),
                segment(4..7, 4, &[0, 1]),
                segment(7..9, 4, &[0, 2]),
            ],
            window,
        };
        let visible = |i: usize, j: usize| {
            (branch[j] == 0 || branch[j] == branch[i])
                && positions[j] <= positions[i]
                && window.is_none_or(|w| positions[i] - positions[j] < w as i32)
        };
        let mask: Vec<f32> = (0..n * n)
            .map(|at| {
                if visible(at / n, at % n) {
                    0.0
                } else {
                    f32::NEG_INFINITY
                }
            })
            .collect();
        let mask = Tensor::from_vec(mask, (1, n, n), &Device::Cpu).unwrap();

        let (q, key, v) = (
            numbers(n * h * e, 1),
            numbers(n * k * e, 2),
            numbers(n * k * e, 3),
        );
        let dy = numbers(n * h * e, 4);
        let (vq, vk, vv) = (
            var(&q, &[n, h, e]),
            var(&key, &[n, k, e]),
            var(&v, &[n, k, e]),
        );
        let y = masked_attention(&vq, &vk, &vv, &mask, h / k).unwrap();
        let theirs = gradients(&y, &dy, &[&vq, &vk, &vv]);

        let (mut o, mut lse) = (vec![f32::NAN; n * h * e], vec![f32::NAN; n * h]);
        attention::forward(&q, &key, &v, &mut o, &mut lse, &layout, &shape).unwrap();
        assert_close("o", &o, &y);
        let (mut dq, mut dk, mut dv) = (
            vec![f32::NAN; n * h * e],
            vec![f32::NAN; n * k * e],
            vec![f32::NAN; n * k * e],
        );
        attention::backward(
            &q, &key, &v, &o, &lse, &dy, &mut dq, &mut dk, &mut dv, &layout, &shape,
        )
        .unwrap();
        for (what, ours, theirs) in [
            ("dq", dq, &theirs[0]),
            ("dk", dk, &theirs[1]),
            ("dv", dv, &theirs[2]),
        ] {
            assert_close(what, &ours, theirs);
        }
    }
}

/// q (N, H, E), k and v (N, K, E), mask (1, N, N) → (N, H, E).
fn masked_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: &Tensor,
    group: usize,
) -> Result<Tensor> {
    let repeat = |t: &Tensor| -> Result<Tensor> {
        let (n, heads, e) = t.dims3()?;
        let wide = t
            .unsqueeze(2)?
            .broadcast_as((n, heads, group, e))?
            .reshape((n, heads * group, e))?;
        wide.transpose(0, 1)?.contiguous()
    };
    let q = q.transpose(0, 1)?.contiguous()?;
    let scale = 1.0 / (q.dim(D::Minus1)? as f64).sqrt();
    let scores = (q.matmul(&repeat(k)?.transpose(1, 2)?.contiguous()?)? * scale)?;
    let weights = candle_nn::ops::softmax(&scores.broadcast_add(mask)?, D::Minus1)?;
    weights.matmul(&repeat(v)?)?.transpose(0, 1)?.contiguous()
}

#[test]
fn the_head_is_a_gathered_log_softmax() {
    let (n, d, v) = (4, 8, 11);
    // Row 1 predicts two targets, row 3 none.
    let (rows, targets) = ([0u32, 1, 1, 2], [3u32, 0, 10, 7]);
    let (x, w, dy) = (numbers(n * d, 1), numbers(v * d, 2), numbers(rows.len(), 3));
    let (vx, vw) = (var(&x, &[n, d]), var(&w, &[v, d]));
    let index = Tensor::new(&rows, &Device::Cpu).unwrap();
    let logits = vx
        .index_select(&index, 0)
        .unwrap()
        .matmul(&vw.t().unwrap())
        .unwrap();
    let target = Tensor::new(&targets, &Device::Cpu)
        .unwrap()
        .unsqueeze(1)
        .unwrap();
    let y = candle_nn::ops::log_softmax(&logits, D::Minus1)
        .unwrap()
        .gather(&target, 1)
        .unwrap()
        .squeeze(1)
        .unwrap();
    let theirs = gradients(&y, &dy, &[&vx, &vw]);

    for chunk in [1, 3, 64] {
        let m = rows.len();
        let (mut logps, mut lse, mut u) =
            (vec![f32::NAN; m], vec![f32::NAN; m], vec![f32::NAN; m * d]);
        head::forward(
            &x,
            &w,
            d,
            &rows,
            &targets,
            &mut logps,
            &mut lse,
            Some(&mut u),
            chunk,
        )
        .unwrap();
        assert_close("logps", &logps, &y);
        let mut dx = vec![0.0; n * d];
        head::backward_frozen(&u, &dy, &rows, &mut dx, d).unwrap();
        assert_close("dx, frozen", &dx, &theirs[0]);
        let (mut dx, mut dw) = (vec![0.0; n * d], vec![0.0; v * d]);
        head::backward_trained(
            &x, &w, d, &lse, &rows, &targets, &dy, &mut dx, &mut dw, chunk,
        )
        .unwrap();
        assert_close("dx, trained", &dx, &theirs[0]);
        assert_close("dw", &dw, &theirs[1]);
    }
}
