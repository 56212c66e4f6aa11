use crate::support::*;
use halo_kernels::head::{backward_frozen, backward_trained, forward, log_collisions, naive};

/// One case: hidden (n, d), w (v, d), m entries; `rows` may repeat and need not be sorted.
struct Case {
    d: usize,
    hidden: Vec<f32>,
    w: Vec<f32>,
    rows: Vec<u32>,
    targets: Vec<u32>,
    dlogps: Vec<f32>,
}

fn case(rng: &mut Rng, n: usize, d: usize, v: usize, m: usize, size: f64, sorted: bool) -> Case {
    let mut rows = rng.indices(m, n);
    if sorted {
        rows.sort_unstable();
    }
    Case {
        d,
        hidden: rng.vec(n * d, size),
        w: rng.vec(v * d, size),
        rows,
        targets: rng.indices(m, v),
        dlogps: rng.vec(m, 1.0),
    }
}

struct Results {
    logps: Vec<f32>,
    lse: Vec<f32>,
    u: Vec<f32>,
    frozen: Vec<f32>,
    dhidden: Vec<f32>,
    dw: Vec<f32>,
}

fn run(c: &Case, chunk: usize, dhidden0: &[f32], dw0: &[f32]) -> Results {
    let (m, d) = (c.rows.len(), c.d);
    let (mut logps, mut lse, mut u) = (poison(m), poison(m), poison(m * d));
    forward(
        &c.hidden,
        &c.w,
        d,
        &c.rows,
        &c.targets,
        &mut logps,
        &mut lse,
        Some(&mut u),
        chunk,
    )
    .unwrap();
    let (mut alone, mut alone_lse) = (poison(m), poison(m));
    forward(
        &c.hidden,
        &c.w,
        d,
        &c.rows,
        &c.targets,
        &mut alone,
        &mut alone_lse,
        None,
        chunk,
    )
    .unwrap();
    close("logps without u", &alone, &wide(&logps), 1e-5);
    let mut frozen = dhidden0.to_vec();
    backward_frozen(&u, &c.dlogps, &c.rows, &mut frozen, d).unwrap();
    let (mut dhidden, mut dw) = (dhidden0.to_vec(), dw0.to_vec());
    backward_trained(
        &c.hidden,
        &c.w,
        d,
        &lse,
        &c.rows,
        &c.targets,
        &c.dlogps,
        &mut dhidden,
        &mut dw,
        chunk,
    )
    .unwrap();
    Results {
        logps,
        lse,
        u,
        frozen,
        dhidden,
        dw,
    }
}

#[test]
fn the_naive_gradient_is_the_finite_difference() {
    let mut rng = Rng(13);
    for _ in 0..5 {
        let c = case(&mut rng, 3, 4, 6, 7, 1.0, false);
        let (hidden, w, dlogps) = (wide(&c.hidden), wide(&c.w), wide(&c.dlogps));
        let loss = |hidden: &[f64], w: &[f64]| {
            let (mut logps, mut lse, mut u) = (vec![0.0; 7], vec![0.0; 7], vec![0.0; 28]);
            naive::forward(
                hidden, w, 4, &c.rows, &c.targets, &mut logps, &mut lse, &mut u,
            );
            dot(&logps, &dlogps)
        };
        let (mut dhidden, mut dw) = (vec![0.0; 12], vec![0.0; 24]);
        naive::backward(
            &hidden,
            &w,
            4,
            &c.rows,
            &c.targets,
            &dlogps,
            &mut dhidden,
            &mut dw,
        );
        gradient("dhidden", &dhidden, &differences(&hidden, |h| loss(h, &w)));
        gradient("dw", &dw, &differences(&w, |w| loss(&hidden, w)));
    }
}

#[test]
fn the_fast_form_equals_the_naive_one() {
    let mut rng = Rng(14);
    let shapes = [
        (1, 1, 1, 1, 1),
        (4, 3, 5, 9, 2),
        (40, 16, 700, 60, 7),
        (300, 24, 1500, 330, 256),
        (9, 64, 513, 1, 64),
        (5, 8, 100, 0, 4),
    ];
    for (i, (n, d, v, m, chunk)) in shapes.into_iter().enumerate() {
        for size in [1.0, 6.0] {
            let c = case(&mut rng, n, d, v, m, size, i % 2 == 0);
            let (dhidden0, dw0) = (rng.vec(n * d, 1.0), rng.vec(v * d, 1.0));
            let (hidden, w) = (wide(&c.hidden), wide(&c.w));
            let (mut logps, mut lse, mut u) = (vec![0.0; m], vec![0.0; m], vec![0.0; m * d]);
            naive::forward(
                &hidden, &w, d, &c.rows, &c.targets, &mut logps, &mut lse, &mut u,
            );
            let (mut dhidden, mut dw) = (wide(&dhidden0), wide(&dw0));
            naive::backward(
                &hidden,
                &w,
                d,
                &c.rows,
                &c.targets,
                &wide(&c.dlogps),
                &mut dhidden,
                &mut dw,
            );
            for pool in [1, 2, 5] {
                let got = threads(pool, || run(&c, chunk, &dhidden0, &dw0));
                // f32 logits of d products.
                close("logps", &got.logps, &logps, 3e-6);
                close("lse", &got.lse, &lse, 1e-6);
                close("u", &got.u, &u, 3e-5);
                close("frozen dhidden", &got.frozen, &dhidden, 3e-5);
                close("dhidden", &got.dhidden, &dhidden, 3e-5);
                close("dw", &got.dw, &dw, 3e-5);
            }
        }
    }
}

#[test]
fn a_large_vocabulary_keeps_five_digits_of_every_log_probability() {
    let mut rng = Rng(15);
    let c = case(&mut rng, 8, 32, 40_000, 16, 0.05, true);
    let got = run(&c, 64, &vec![0.0; 8 * 32], &vec![0.0; 40_000 * 32]);
    let (mut logps, mut lse, mut u) = (vec![0.0; 16], vec![0.0; 16], vec![0.0; 16 * 32]);
    naive::forward(
        &wide(&c.hidden),
        &wide(&c.w),
        32,
        &c.rows,
        &c.targets,
        &mut logps,
        &mut lse,
        &mut u,
    );
    for (got, want) in got.logps.iter().zip(&logps) {
        assert!(
            (f64::from(*got) - want).abs() <= 1e-6 * want.abs(),
            "{got} {want}"
        );
    }
}

#[test]
fn extreme_logits_stay_finite() {
    let (d, v) = (4, 50);
    let mut w = vec![0.0; v * d];
    w[7 * d] = 1000.0;
    w[9 * d] = -1000.0;
    let c = Case {
        d,
        hidden: vec![10.0, 0.0, 0.0, 0.0],
        w,
        rows: vec![0, 0],
        targets: vec![7, 9],
        dlogps: vec![1.0, 1.0],
    };
    let got = run(&c, 8, &[0.0; 4], &vec![0.0; v * d]);
    assert_eq!(got.logps[0], 0.0);
    assert_eq!(got.logps[1], -20000.0);
    assert!(
        got.u
            .iter()
            .chain(&got.dhidden)
            .chain(&got.dw)
            .all(|x| x.is_finite())
    );
}

#[test]
fn the_result_is_the_same_on_every_run_of_a_pool() {
    let mut rng = Rng(16);
    let c = case(&mut rng, 100, 16, 3000, 130, 1.0, true);
    for pool in [1, 2, 3] {
        let again = || {
            let r = run(&c, 64, &[0.0; 1600], &vec![0.0; 3000 * 16]);
            [
                bits(&r.logps),
                bits(&r.lse),
                bits(&r.u),
                bits(&r.frozen),
                bits(&r.dhidden),
                bits(&r.dw),
            ]
        };
        let first = threads(pool, again);
        for _ in 0..5 {
            assert!(threads(pool, again) == first);
        }
    }
}

#[test]
fn a_target_outside_the_vocabulary_is_named() {
    let (mut logps, mut lse) = ([7.0; 2], [7.0; 2]);
    let error = forward(
        &[0.0; 4],
        &[0.0; 6],
        2,
        &[0, 1],
        &[2, 3],
        &mut logps,
        &mut lse,
        None,
        8,
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "head::forward: targets[1] = 3 is outside 0..3"
    );
    assert_eq!(logps, [7.0; 2]);
}

#[test]
fn collisions_are_those_of_the_whole_softmax() {
    let mut rng = Rng(77);
    for (n, d, v, m, chunk) in [
        (1, 1, 1, 1, 1),
        (5, 8, 300, 9, 2),
        (7, 16, 1025, 20, 512),
        (3, 4, 2, 6, 3),
    ] {
        let c = case(&mut rng, n, d, v, m, 1.5, true);
        let (mut logps, mut lse) = (poison(m), poison(m));
        forward(
            &c.hidden, &c.w, d, &c.rows, &c.targets, &mut logps, &mut lse, None, chunk,
        )
        .unwrap();
        let mut ours = poison(m);
        log_collisions(&c.hidden, &c.w, d, &c.rows, &lse, &mut ours, chunk).unwrap();
        let mut naive = vec![0f64; m];
        naive::log_collisions(&wide(&c.hidden), &wide(&c.w), d, &c.rows, &mut naive);
        // e^z rounds to 2^-24 relative, and z itself to 2^-24 of its size
        close("log_collisions", &ours, &naive, 1e-5);
    }
}
