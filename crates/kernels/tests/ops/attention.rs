use crate::layouts::*;
use crate::support::*;
use halo_kernels::attention::{Cache, Layout, Seg, Shape, backward, cached, forward, naive};

/// o, lse, dq, dk, dv of the fast form over poisoned buffers.
fn fast(i: &Inputs, layout: &Layout, shape: &Shape) -> [Vec<f32>; 5] {
    let (q, kv) = (i.q.len(), i.k.len());
    let (mut o, mut lse) = (poison(q), poison(q / shape.head_dim));
    forward(&i.q, &i.k, &i.v, &mut o, &mut lse, layout, shape).unwrap();
    let (mut dq, mut dk, mut dv) = (poison(q), poison(kv), poison(kv));
    backward(
        &i.q, &i.k, &i.v, &o, &lse, &i.d_o, &mut dq, &mut dk, &mut dv, layout, shape,
    )
    .unwrap();
    [o, lse, dq, dk, dv]
}

#[track_caller]
fn compare(i: &Inputs, layout: &Layout, shape: &Shape) {
    let (got, want) = (fast(i, layout, shape), oracle(i, layout, shape));
    let names = ["o", "lse", "dq", "dk", "dv"];
    let widths = [
        shape.q_width(),
        shape.heads,
        shape.q_width(),
        shape.kv_width(),
        shape.kv_width(),
    ];
    for ((name, width), (got, want)) in names.iter().zip(widths).zip(got.iter().zip(&want)) {
        let (inside, outside) = got.split_at(layout.rows() * width);
        // With one visible key dS is 0 by cancellation of terms of order one.
        close_to(name, inside, &want[..inside.len()], 1.0, 1e-5);
        assert!(
            outside.iter().all(|x| x.is_nan()),
            "{name} was written outside the layout"
        );
    }
}

#[test]
fn the_naive_gradient_is_the_finite_difference() {
    let mut rng = Rng(17);
    for (heads, kv_heads, window) in [(2, 1, None), (2, 2, Some(3)), (3, 1, Some(1))] {
        let layout = forest(&mut rng, 2, 3, 3, window);
        let (shape, n) = (shape(heads, kv_heads, 2), layout.rows());
        let i = inputs(&mut rng, n, &shape, 1.0);
        let (q, k, v, d_o) = (wide(&i.q), wide(&i.k), wide(&i.v), wide(&i.d_o));
        let loss = |q: &[f64], k: &[f64], v: &[f64]| {
            let (mut o, mut lse) = (vec![0.0; q.len()], vec![0.0; n * heads]);
            naive::forward(q, k, v, &mut o, &mut lse, &layout, &shape);
            dot(&o, &d_o)
        };
        let [_, _, dq, dk, dv] = oracle(&i, &layout, &shape);
        gradient("dq", &dq, &differences(&q, |q| loss(q, &k, &v)));
        gradient("dk", &dk, &differences(&k, |k| loss(&q, k, &v)));
        gradient("dv", &dv, &differences(&v, |v| loss(&q, &k, v)));
    }
}

#[test]
fn the_fast_form_equals_the_naive_one_over_random_forests() {
    let mut rng = Rng(18);
    for round in 0..60 {
        let (trees, segments) = (1 + rng.below(4), 1 + rng.below(5));
        let longest = [1, 4, 20, 90][rng.below(4)];
        let window = [None, None, Some(1), Some(2), Some(17), Some(100)][rng.below(6)];
        let kv_heads = 1 + rng.below(3);
        let shape = shape(
            kv_heads * (1 + rng.below(4)),
            kv_heads,
            [1, 8, 20, 64][rng.below(4)],
        );
        let layout = forest(&mut rng, trees, segments, longest, window);
        let rows = layout.rows() + rng.below(3);
        let i = inputs(&mut rng, rows, &shape, [1.0, 4.0][round % 2]);
        threads(1 + round % 4, || compare(&i, &layout, &shape));
    }
}

#[test]
fn long_segments_cross_many_tiles() {
    let mut rng = Rng(19);
    for (length, window) in [(300, None), (257, Some(64)), (500, Some(130))] {
        let layout = Layout {
            segments: vec![
                Seg {
                    rows: 0..length,
                    pos0: 0,
                    kv: vec![0],
                    tree: 0,
                },
                Seg {
                    rows: length..length + 70,
                    pos0: length,
                    kv: vec![0, 1],
                    tree: 0,
                },
                Seg {
                    rows: length + 70..2 * length,
                    pos0: length,
                    kv: vec![0, 2],
                    tree: 0,
                },
                Seg {
                    rows: 2 * length..2 * length + 9,
                    pos0: length + 70,
                    kv: vec![0, 1, 3],
                    tree: 0,
                },
            ],
            window,
        };
        let shape = shape(6, 2, 32);
        let i = inputs(&mut rng, layout.rows(), &shape, 2.0);
        compare(&i, &layout, &shape);
    }
}

#[test]
fn shared_prefixes_equal_separate_sequences() {
    let mut rng = Rng(20);
    let shape = shape(4, 2, 16);
    let (p, a, b) = (40, 25, 33);
    let shared = Layout {
        segments: vec![
            Seg {
                rows: 0..p,
                pos0: 0,
                kv: vec![0],
                tree: 0,
            },
            Seg {
                rows: p..p + a,
                pos0: p,
                kv: vec![0, 1],
                tree: 0,
            },
            Seg {
                rows: p + a..p + a + b,
                pos0: p,
                kv: vec![0, 2],
                tree: 0,
            },
        ],
        window: None,
    };
    let i = inputs(&mut rng, p + a + b, &shape, 1.0);
    let together = fast(&i, &shared, &shape);
    // The second branch after its own copy of the prompt.
    let cut = |x: &[f32], w: usize| [&x[..p * w], &x[(p + a) * w..]].concat();
    let alone = Inputs {
        q: cut(&i.q, shape.q_width()),
        k: cut(&i.k, shape.kv_width()),
        v: cut(&i.v, shape.kv_width()),
        d_o: cut(&i.d_o, shape.q_width()),
    };
    let layout = Layout {
        segments: vec![Seg {
            rows: 0..p + b,
            pos0: 0,
            kv: vec![0],
            tree: 0,
        }],
        window: None,
    };
    let separate = fast(&alone, &layout, &shape);
    close(
        "o",
        &cut(&together[0], shape.q_width()),
        &wide(&separate[0]),
        1e-6,
    );
    close(
        "lse",
        &cut(&together[1], shape.heads),
        &wide(&separate[1]),
        1e-6,
    );
    let branch = |x: &[f32], w: usize, skip: usize| wide(&x[skip * w..]);
    for (name, at, w) in [
        ("dq", 2, shape.q_width()),
        ("dk", 3, shape.kv_width()),
        ("dv", 4, shape.kv_width()),
    ] {
        close(
            name,
            &together[at][(p + a) * w..],
            &branch(&separate[at], w, p),
            1e-5,
        );
    }
}

#[test]
fn the_result_is_the_same_on_every_run_of_a_pool() {
    let mut rng = Rng(21);
    let layout = forest(&mut rng, 3, 4, 80, None);
    let shape = shape(6, 2, 16);
    let i = inputs(&mut rng, layout.rows(), &shape, 1.0);
    for pool in [1, 2, 4] {
        let again = || fast(&i, &layout, &shape).map(|x| bits(&x));
        let first = threads(pool, again);
        for _ in 0..5 {
            assert!(threads(pool, again) == first);
        }
    }
}

#[test]
fn large_scores_stay_finite() {
    let mut rng = Rng(22);
    let layout = forest(&mut rng, 2, 3, 50, None);
    let shape = shape(2, 1, 8);
    let i = inputs(&mut rng, layout.rows(), &shape, 60.0);
    let results = fast(&i, &layout, &shape);
    assert!(results.iter().flatten().all(|x| x.is_finite()));
    close("o", &results[0], &oracle(&i, &layout, &shape)[0], 1e-3);
}

#[test]
fn cached_attention_is_the_last_row_of_the_causal_one() {
    let mut rng = Rng(23);
    for (window, heads, kv_heads, e) in [
        (None, 4, 2, 16),
        (Some(5), 3, 1, 7),
        (Some(1), 2, 2, 64),
        (None, 6, 2, 64),
    ] {
        let shape = shape(heads, kv_heads, e);
        let lengths = [1, 2, 33, 150];
        let all: Vec<Inputs> = lengths
            .iter()
            .map(|&n| inputs(&mut rng, n, &shape, 1.0))
            .collect();
        let mut q = vec![];
        let mut want = vec![];
        for (i, &n) in all.iter().zip(&lengths) {
            let layout = Layout {
                segments: vec![Seg {
                    rows: 0..n,
                    pos0: 0,
                    kv: vec![0],
                    tree: 0,
                }],
                window,
            };
            want.extend_from_slice(&oracle(i, &layout, &shape)[0][(n - 1) * shape.q_width()..]);
            q.extend_from_slice(&i.q[(n - 1) * shape.q_width()..]);
        }
        let caches: Vec<Cache> = all.iter().map(|i| Cache { k: &i.k, v: &i.v }).collect();
        let mut o = poison(q.len());
        cached(&q, &caches, &mut o, window, &shape).unwrap();
        close("o", &o, &want, 1e-5);
    }
}

#[test]
fn layouts_that_contradict_themselves_are_refused() {
    let seg = |rows: std::ops::Range<usize>, pos0, kv: &[usize], tree| Seg {
        rows,
        pos0,
        kv: kv.to_vec(),
        tree,
    };
    let cases = [
        (
            vec![seg(1..2, 0, &[0], 0)],
            "segment 0: its rows do not follow",
        ),
        (
            vec![seg(0..2, 0, &[], 0)],
            "segment 0: its list of keys is empty",
        ),
        (
            vec![seg(0..2, 0, &[0], 0), seg(2..3, 2, &[1, 0], 0)],
            "segment 1: its list of keys does not end",
        ),
        (
            vec![seg(0..2, 0, &[7, 0], 0)],
            "segment 0: an ancestor does not exist",
        ),
        (
            vec![seg(0..2, 0, &[0], 0), seg(2..3, 2, &[0, 1], 1)],
            "segment 1: an ancestor belongs to another tree",
        ),
        (
            vec![seg(0..2, 0, &[0], 0), seg(2..3, 1, &[0, 1], 0)],
            "segment 1: an ancestor's positions",
        ),
    ];
    let shape = shape(1, 1, 1);
    for (segments, message) in cases {
        let layout = Layout {
            segments,
            window: None,
        };
        let error = forward(
            &[0.0; 3],
            &[0.0; 3],
            &[0.0; 3],
            &mut [0.0; 3],
            &mut [0.0; 3],
            &layout,
            &shape,
        )
        .unwrap_err();
        assert!(error.is_layout());
        assert!(error.to_string().contains(message), "{error}");
    }
}
