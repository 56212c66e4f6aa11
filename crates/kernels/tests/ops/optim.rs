use crate::support::*;
use halo_kernels::optim::{AdamW, eight_bit, scale, step, sum_squares};

#[test]
fn the_norm_is_exact_to_f64_and_the_same_on_every_pool() {
    let mut rng = Rng(10);
    for n in [0, 1, 15, 16, 17, 100_000] {
        let x = rng.vec(n, 10.0);
        let want: f64 = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let got = sum_squares(&x);
        assert!((got - want).abs() <= 1e-12 * want.max(1.0), "{got} {want}");
        assert_eq!(got, threads(3, || sum_squares(&x)));
    }
}

#[test]
fn scaling_multiplies_every_element() {
    let mut rng = Rng(11);
    let x = rng.vec(40_000, 1.0);
    let mut y = x.clone();
    scale(&mut y, 0.25);
    assert!(x.iter().zip(&y).all(|(x, y)| x * 0.25 == *y));
}

#[test]
fn adamw_follows_its_algorithm() {
    let mut rng = Rng(12);
    let n = 20_000;
    let cfg = AdamW {
        lr: 1e-2,
        weight_decay: 0.1,
        ..AdamW::default()
    };
    for decay in [false, true] {
        let (mut p, mut m, mut v) = (rng.vec(n, 1.0), vec![0.0; n], vec![0.0; n]);
        let (mut want, mut want_m, mut want_v) = (wide(&p), vec![0.0; n], vec![0.0; n]);
        for t in 1..=5 {
            let g = rng.vec(n, 3.0);
            step(&mut p, &g, &mut m, &mut v, t, &cfg, decay, 0.5).unwrap();
            for i in 0..n {
                let g = f64::from(g[i]) * 0.5;
                if decay {
                    want[i] -= cfg.lr * cfg.weight_decay * want[i];
                }
                want_m[i] = cfg.beta1 * want_m[i] + (1.0 - cfg.beta1) * g;
                want_v[i] = cfg.beta2 * want_v[i] + (1.0 - cfg.beta2) * g * g;
                let m_hat = want_m[i] / (1.0 - cfg.beta1.powi(t as i32));
                let v_hat = want_v[i] / (1.0 - cfg.beta2.powi(t as i32));
                want[i] -= cfg.lr * m_hat / (v_hat.sqrt() + cfg.eps);
            }
        }
        close("params", &p, &want, 1e-6);
        close("m", &m, &want_m, 1e-6);
        close("v", &v, &want_v, 1e-6);
    }
}

#[test]
fn a_step_counts_from_one() {
    let cfg = AdamW::default();
    let error = step(&mut [], &[], &mut [], &mut [], 0, &cfg, true, 1.0).unwrap_err();
    assert!(error.is_shape());
}

/// Minimises Σ cᵢ(xᵢ − aᵢ)² from 0; curvatures over two decades.
fn quadratic(steps: u64, mut step: impl FnMut(&mut [f32], &[f32], u64)) -> f64 {
    let n = 1000;
    let mut rng = Rng(18);
    let (a, c) = (rng.vec(n, 1.0), rng.vec(n, 1.0));
    let c: Vec<f32> = c.iter().map(|c| 10f32.powf(*c)).collect();
    let mut x = vec![0.0; n];
    for t in 1..=steps {
        let grads: Vec<f32> = (0..n).map(|i| 2.0 * c[i] * (x[i] - a[i])).collect();
        step(&mut x, &grads, t);
    }
    (0..n)
        .map(|i| f64::from(c[i] * (x[i] - a[i]).powi(2)))
        .sum()
}

#[test]
fn eight_bit_moments_converge_like_f32_moments() {
    let cfg = AdamW {
        lr: 0.02,
        ..AdamW::default()
    };
    let (mut m, mut v) = (vec![0.0; 1000], vec![0.0; 1000]);
    let start = quadratic(0, |_, _, _| {});
    let wide = quadratic(200, |x, g, t| {
        step(x, g, &mut m, &mut v, t, &cfg, false, 1.0).unwrap();
    });
    let run = || {
        let (mut m, mut v) = eight_bit::zeros(1000);
        let (mut m_max, mut v_max) = (vec![0.0; 4], vec![0.0; 4]);
        quadratic(200, |x, g, t| {
            eight_bit::step(
                x, g, &mut m, &mut v, &mut m_max, &mut v_max, t, &cfg, false, 1.0,
            )
            .unwrap();
        })
    };
    let narrow = run();
    // What is left of the start's value: 8 bits may cost a thousandth of it.
    assert!(
        wide < 1e-3 * start && narrow < wide + 1e-3 * start,
        "start {start}, f32 {wide}, 8 bits {narrow}"
    );
    assert_eq!(narrow.to_bits(), threads(3, run).to_bits());
}
