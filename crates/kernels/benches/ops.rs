//! The ops on the shapes of a 34M-parameter Llama: D 384, 6 heads and 2 key/value heads of 64, F 1024, V 32000; a pack of
//! 2600 gradient rows, 1200 others and 1200 scored entries. Throughput is floating-point operations, or elements.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use halo_kernels::attention::{Cache, Layout, Seg, Shape};
use halo_kernels::elements::{Elements, bf16};
use halo_kernels::shaping::Shaping;
use halo_kernels::{attention, head, matmul, optim, rms_norm, swiglu};
use std::hint::black_box;
use std::time::Duration;

const ROWS: usize = 2600;
const D: usize = 384;
const F: usize = 1024;
const V: usize = 32_000;
const SCORED: usize = 1200;
const SHAPE: Shape = Shape {
    heads: 6,
    kv_heads: 2,
    head_dim: 64,
    scale: 0.125,
};

criterion_group! {
    name = ops;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = linear, attention_pack, log_probability_head, element_wise, optimizer
}
criterion_main!(ops);

fn linear(c: &mut Criterion) {
    let mut group = c.benchmark_group("linear");
    for (n, i, o) in [
        (ROWS, D, F),
        (ROWS, F, D),
        (ROWS, D, D),
        (8, D, F),
        (8, F, D),
    ] {
        let (x, w, dy) = (values(n * i), values(o * i), values(n * o));
        let (mut y, mut dx, mut dw) = (values(n * o), values(n * i), values(o * i));
        group.throughput(Throughput::Elements((2 * n * i * o) as u64));
        group.bench_function(format!("forward {n}x{i}x{o}"), |b| {
            b.iter(|| matmul::linear(&x, &w, &mut y, n, i, o, 0.0));
        });
        if n == ROWS {
            group.bench_function(format!("dx {n}x{i}x{o}"), |b| {
                b.iter(|| matmul::linear_dx(&dy, &w, &mut dx, n, i, o, 0.0));
            });
            group.bench_function(format!("dw {n}x{i}x{o}"), |b| {
                b.iter(|| matmul::linear_dw(&dy, &x, &mut dw, n, i, o, 1.0));
            });
        }
    }
}

fn attention_pack(c: &mut Criterion) {
    let (all, gradient) = (layout(true), layout(false));
    let n = all.rows();
    let (q, k, v) = (values(n * D), values(n * 128), values(n * 128));
    let (mut o, mut lse, d_o) = (values(n * D), values(n * 6), values(n * D));
    let (mut dq, mut dk, mut dv) = (values(n * D), values(n * 128), values(n * 128));
    let mut group = c.benchmark_group("attention");
    // Two products of 2·E operations a visible pair and head; five in backward.
    group.throughput(Throughput::Elements(pairs(&all) * 6 * 64 * 4));
    group.bench_function("forward", |b| {
        b.iter(|| attention::forward(&q, &k, &v, &mut o, &mut lse, &all, &SHAPE));
    });
    group.throughput(Throughput::Elements(pairs(&gradient) * 6 * 64 * 10));
    group.bench_function("backward", |b| {
        b.iter(|| {
            attention::backward(
                &q, &k, &v, &o, &lse, &d_o, &mut dq, &mut dk, &mut dv, &gradient, &SHAPE,
            )
        });
    });
    let (keys, mut out) = (values(8 * 500 * 128), values(8 * D));
    let caches: Vec<Cache> = keys.chunks(500 * 128).map(|k| Cache { k, v: k }).collect();
    group.throughput(Throughput::Elements(8 * 500 * 6 * 64 * 4));
    group.bench_function("cached 8 of 500", |b| {
        b.iter(|| attention::cached(&q[..8 * D], &caches, &mut out, None, &SHAPE));
    });
}

fn log_probability_head(c: &mut Criterion) {
    let (hidden, w) = (values(SCORED * D), values(V * D));
    let rows: Vec<u32> = (0..SCORED as u32).collect();
    let targets: Vec<u32> = rows.iter().map(|r| r * 26).collect();
    let (mut logps, mut lse) = (values(SCORED), values(SCORED));
    let (mut u, dlogps) = (values(SCORED * D), values(SCORED));
    let (mut dhidden, mut dw) = (values(SCORED * D), values(V * D));
    let product = 2 * (SCORED * D * V) as u64;
    let mut group = c.benchmark_group("head");
    group.throughput(Throughput::Elements(product));
    group.bench_function("forward", |b| {
        b.iter(|| {
            head::forward(
                &hidden,
                &w,
                D,
                &rows,
                &targets,
                &mut logps,
                &mut lse,
                None,
                head::CHUNK,
            )
        });
    });
    let halves: Vec<bf16> = w.iter().map(|x| bf16::from_f32(*x)).collect();
    group.bench_function("forward, bf16 words, soft cap", |b| {
        let of_gemma = Shaping {
            temperature: 1.0,
            softcap: Some(30.0),
        };
        let head = head::Head {
            w: Elements::Bf16(&halves),
            shaping: of_gemma,
            ..head::Head::plain(&hidden, &w, D)
        };
        b.iter(|| {
            let scores = head::Scores {
                logps: &mut logps,
                lse: &mut lse,
                entropy: None,
                stored: None,
            };
            head.forward(&rows, &targets, scores, head::CHUNK)
        });
    });
    group.throughput(Throughput::Elements(2 * product));
    group.bench_function("forward frozen", |b| {
        b.iter(|| {
            head::forward(
                &hidden,
                &w,
                D,
                &rows,
                &targets,
                &mut logps,
                &mut lse,
                Some(&mut u),
                head::CHUNK,
            )
        });
    });
    group.throughput(Throughput::Elements(3 * product));
    group.bench_function("backward trained", |b| {
        b.iter(|| {
            head::backward_trained(
                &hidden,
                &w,
                D,
                &lse,
                &rows,
                &targets,
                &dlogps,
                &mut dhidden,
                &mut dw,
                head::CHUNK,
            )
        });
    });
}

fn element_wise(c: &mut Criterion) {
    let mut group = c.benchmark_group("element-wise");
    let (x, w, dy) = (values(ROWS * D), values(D), values(ROWS * D));
    let (mut y, mut rstd) = (values(ROWS * D), values(ROWS));
    group.throughput(Throughput::Elements((ROWS * D) as u64));
    group.bench_function("rms_norm forward", |b| {
        b.iter(|| rms_norm::forward(&x, &w, 1e-5, &mut y, &mut rstd, ROWS, D));
    });
    let (mut dx, mut dw) = (values(ROWS * D), values(D));
    group.bench_function("rms_norm backward", |b| {
        b.iter(|| rms_norm::backward(&x, &w, &rstd, &dy, &mut dx, Some(&mut dw), ROWS, D));
    });
    let (gate, up, mut out) = (values(ROWS * F), values(ROWS * F), values(ROWS * F));
    let (mut dgate, mut dup) = (values(ROWS * F), values(ROWS * F));
    group.throughput(Throughput::Elements((ROWS * F) as u64));
    group.bench_function("swiglu forward", |b| {
        b.iter(|| swiglu::forward(&gate, &up, &mut out));
    });
    let dout = values(ROWS * F);
    group.bench_function("swiglu backward", |b| {
        b.iter(|| swiglu::backward(&gate, &up, &dout, &mut dgate, &mut dup));
    });
}

fn optimizer(c: &mut Criterion) {
    let n = 34_000_000;
    let (mut params, grads) = (values(n), values(n));
    let (mut m, mut v) = (vec![0.0; n], vec![0.0; n]);
    let mut group = c.benchmark_group("optimizer");
    group.throughput(Throughput::Elements(n as u64));
    group.bench_function("sum_squares", |b| {
        b.iter(|| black_box(optim::sum_squares(&grads)));
    });
    let cfg = optim::AdamW {
        lr: 1e-9,
        ..optim::AdamW::default()
    };
    group.bench_function("adamw", |b| {
        b.iter(|| optim::step(&mut params, &grads, &mut m, &mut v, 3, &cfg, true, 0.5));
    });
}

/// Four prompts with a completion each, and if asked for, a gradient-free completion of another example.
fn layout(mismatched: bool) -> Layout {
    let mut segments: Vec<Seg> = vec![];
    let push = |segments: &mut Vec<Seg>, tree, length, prompt: Option<usize>| {
        let first = segments.last().map_or(0, |s: &Seg| s.rows.end);
        let pos0 = prompt.map_or(0, |p| segments[p].rows.len());
        let kv = prompt.into_iter().chain([segments.len()]).collect();
        segments.push(Seg {
            rows: first..first + length,
            pos0,
            kv,
            tree,
        });
    };
    let lengths = [(350, 299), (250, 419), (500, 199), (300, 283)];
    for (tree, (prompt, completion)) in lengths.into_iter().enumerate() {
        push(&mut segments, tree, prompt, None);
        push(&mut segments, tree, completion, Some(2 * tree));
    }
    for (i, (_, completion)) in lengths.into_iter().enumerate().filter(|_| mismatched) {
        let tree = (i + 1) % lengths.len();
        push(&mut segments, tree, completion, Some(2 * tree));
    }
    Layout {
        segments,
        window: None,
    }
}

/// Visible query–key pairs.
fn pairs(layout: &Layout) -> u64 {
    let visible = |seg: &Seg| {
        let n = seg.rows.len();
        n * seg.pos0 + n * (n + 1) / 2
    };
    layout.segments.iter().map(visible).sum::<usize>() as u64
}

/// Values in −0.5..0.5, the same on every run.
fn values(n: usize) -> Vec<f32> {
    let mut state = 1u64;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..n).map(next).collect()
}
