use super::data::{choices, numbers, rounded, stored};
use super::layouts::{forest, fork, sequence, trie};
use super::output::{Output, close, close_above, compare, exact, worst};
use crate::Error;
use crate::attention::{self, Cache, Layout, Shape, naive};
use crate::gpu::attention::{Caches, Plan};
use crate::gpu::{self, Dtype, Gpu};

/// Every width of the tensor-core form and groups of many sizes, then head dimensions that only the plain form has.
const HEADS: [(usize, usize, usize); 11] = [
    (2, 2, 64),
    (2, 1, 80),
    (4, 1, 32),
    (7, 1, 16),
    (2, 1, 128),
    (1, 1, 96),
    (2, 1, 1),
    (2, 1, 7),
    (4, 2, 20),
    (2, 1, 136),
    (1, 1, 256),
];

/// Values and gradients; two rows beyond the pack stay as they are.
pub(super) fn heads(gpu: &Gpu, dtype: Dtype) -> Result<f64, Error> {
    worst(&[dtype], &HEADS, |dtype, heads| {
        pack(gpu, dtype, &fork(None), 2, &shape(heads), 1.0)
    })
}

/// Around the edges of a tile, and one that hides nothing.
pub(super) fn windows(gpu: &Gpu, dtype: Dtype) -> Result<f64, Error> {
    let windows = [1, 2, 17, 64, 65, 1 << 40];
    worst(&[dtype], &windows, |dtype, window| {
        pack(gpu, dtype, &fork(Some(window)), 0, &shape((2, 1, 16)), 2.0)
    })
}

/// Random shared prefixes, heads and windows; then a trie of three levels, its leading segments alone, as a backward of gradient rows
/// has them, and one long sequence.
pub(super) fn forests(gpu: &Gpu, dtype: Dtype) -> Result<f64, Error> {
    let mut below = choices(34);
    let mut off = 0f64;
    for _ in 0..8 {
        let (trees, segments) = (1 + below(3), 1 + below(4));
        let longest = [1, 4, 20, 90][below(4)];
        let window = [None, None, Some(1), Some(17), Some(100)][below(5)];
        let layout = forest(&mut below, trees, segments, longest, window);
        let kv_heads = 1 + below(2);
        let heads = kv_heads * (1 + below(3));
        let shape = shape((heads, kv_heads, [8, 20, 64][below(3)]));
        off = off.max(pack(gpu, dtype, &layout, below(3), &shape, 1.0)?);
    }
    let (whole, mut leading) = (trie(None), trie(None));
    leading.segments.truncate(2);
    for (layout, beyond, heads) in [
        (whole, 0, (2, 1, 64)),
        (leading, 128, (2, 1, 64)),
        (sequence(300), 0, (2, 1, 128)),
    ] {
        off = off.max(pack(gpu, dtype, &layout, beyond, &shape(heads), 1.0)?);
    }
    Ok(off)
}

/// The newest token of sequences of several lengths, in slots out of order: its key and value are appended to poisoned caches, of which
/// nothing else changes, and it reads them.
pub(super) fn cached(gpu: &Gpu, dtype: Dtype) -> Result<f64, Error> {
    let (lengths, slots, capacity) = ([1, 2, 33, 50, 300], [4, 0, 3, 5, 1], 300);
    let cases = [
        (None, (4, 2, 16)),
        (Some(5), (3, 1, 7)),
        (Some(1), (2, 2, 64)),
        (None, (2, 1, 128)),
        (Some(40), (8, 2, 256)),
    ];
    worst(&[dtype], &cases, |dtype, (window, heads)| {
        let (shape, count) = (shape(heads), lengths.len());
        let (narrow, wide) = (shape.kv_width(), shape.q_width());
        let (q, q_host) = stored(gpu, &numbers(count * wide, 1), dtype)?;
        let (k, k_host) = stored(gpu, &numbers(count * narrow, 2), dtype)?;
        let (v, v_host) = stored(gpu, &numbers(count * narrow, 3), dtype)?;

        // (slots, capacity, K, E), NaN where no sequence is; before and after.
        let empty = vec![f32::NAN; 6 * capacity * narrow];
        let [mut k_old, mut v_old] = [&empty, &empty].map(|x| rounded(x, dtype));
        for (length, slot) in lengths.iter().zip(slots) {
            let filled = slot * capacity * narrow..(slot * capacity + length - 1) * narrow;
            for (old, seed) in [(&mut k_old, 4), (&mut v_old, 5)] {
                let values = rounded(&numbers(filled.len(), seed + 10 * slot as u64), dtype);
                old[filled.clone()].copy_from_slice(&values);
            }
        }
        let (mut k_new, mut v_new) = (k_old.clone(), v_old.clone());
        let whole =
            |r: usize| slots[r] * capacity * narrow..(slots[r] * capacity + lengths[r]) * narrow;
        for r in 0..count {
            let newest = whole(r).end - narrow..whole(r).end;
            k_new[newest.clone()].copy_from_slice(&k_host[r * narrow..][..narrow]);
            v_new[newest].copy_from_slice(&v_host[r * narrow..][..narrow]);
        }
        let sequence = |r| Cache {
            k: &k_new[whole(r)],
            v: &v_new[whole(r)],
        };
        let sequences: Vec<Cache> = (0..count).map(sequence).collect();
        let mut o_host = vec![0.0; count * wide];
        attention::cached(&q_host, &sequences, &mut o_host, window, &shape)?;

        let before = gpu.upload_u32(&lengths.map(|n| n as u32 - 1))?;
        let slots = gpu.upload_u32(&slots.map(|slot| slot as u32))?;
        let run = || {
            let cache_k = Output::holding(gpu, dtype, &k_old)?;
            let cache_v = Output::holding(gpu, dtype, &v_old)?;
            let o = Output::poisoned(gpu, dtype, count * wide)?;
            let caches = Caches {
                k: cache_k.clone(),
                v: cache_v.clone(),
                capacity,
            };
            gpu::attention::append(&k, &v, &caches, &before, &slots, &shape)?;
            gpu::attention::cached(&q, &caches, &before, &slots, &o, window, &shape)?;
            Ok([cache_k, cache_v, o])
        };
        compare(gpu, run, [exact(&k_new), exact(&v_new), close(&o_host)])
    })
}

/// One pack with `beyond` rows after it, which stay as they are; scores of about ±`size`².
fn pack(
    gpu: &Gpu,
    dtype: Dtype,
    layout: &Layout,
    beyond: usize,
    shape: &Shape,
    size: f32,
) -> Result<f64, Error> {
    let n = layout.rows() + beyond;
    let sized = |width, seed| -> Vec<f32> {
        let values = numbers(n * width, seed).into_iter();
        values.map(|x| x * size).collect()
    };
    let (wide, narrow) = (shape.q_width(), shape.kv_width());
    let (q, q_host) = stored(gpu, &sized(wide, 1), dtype)?;
    let (k, k_host) = stored(gpu, &sized(narrow, 2), dtype)?;
    let (v, v_host) = stored(gpu, &numbers(n * narrow, 3), dtype)?;
    let (d_o, d_o_host) = stored(gpu, &numbers(n * wide, 4), dtype)?;
    let expected = naive_form([&q_host, &k_host, &v_host, &d_o_host], layout, shape);
    let plan = Plan::new(gpu, layout, shape)?;
    let run = || {
        let o = Output::poisoned(gpu, dtype, n * wide)?;
        let lse = Output::poisoned(gpu, Dtype::F32, n * shape.heads)?;
        gpu::attention::forward(&q, &k, &v, &o, &lse, &plan, shape)?;
        let dq = Output::poisoned(gpu, dtype, n * wide)?;
        let dk = Output::poisoned(gpu, dtype, n * narrow)?;
        let dv = Output::poisoned(gpu, dtype, n * narrow)?;
        gpu::attention::backward(&q, &k, &v, &o, &lse, &d_o, &dq, &dk, &dv, &plan, shape)?;
        Ok([o, lse, dq, dk, dv])
    };
    // Where a row sees one key alone, terms of about 1 cancel in its gradients.
    let values = expected.each_ref().map(|x| close_above(1.0, x));
    compare(gpu, run, values)
}

/// o, lse, dq, dk, dv of the layout's rows from q, k, v, dO, in f64 as the formula says.
fn naive_form(inputs: [&[f32]; 4], layout: &Layout, shape: &Shape) -> [Vec<f32>; 5] {
    let [q, k, v, d_o] = inputs.map(|x| x.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>());
    let zeros = |width| vec![0f64; layout.rows() * width];
    let (wide, narrow) = (shape.q_width(), shape.kv_width());
    let [mut o, mut dq] = [wide; 2].map(zeros);
    let [mut dk, mut dv] = [narrow; 2].map(zeros);
    let mut lse = zeros(shape.heads);
    naive::forward(&q, &k, &v, &mut o, &mut lse, layout, shape);
    let (dq_out, dk_out, dv_out) = (&mut dq, &mut dk, &mut dv);
    naive::backward(
        &q, &k, &v, &o, &lse, &d_o, dq_out, dk_out, dv_out, layout, shape,
    );
    [o, lse, dq, dk, dv].map(|x| x.into_iter().map(|x| x as f32).collect())
}

fn shape((heads, kv_heads, head_dim): (usize, usize, usize)) -> Shape {
    Shape {
        heads,
        kv_heads,
        head_dim,
        scale: 1.0 / (head_dim as f32).sqrt(),
    }
}
