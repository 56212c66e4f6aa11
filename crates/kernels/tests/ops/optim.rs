use crate::support::*;
use halo_kernels::optim::{AdamW, scale, step, sum_squares};

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
