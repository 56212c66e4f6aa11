use crate::support::*;
use halo_kernels::swiglu::{backward, forward, naive};

#[test]
fn the_naive_gradient_is_the_finite_difference() {
    let mut rng = Rng(7);
    for _ in 0..100 {
        let (gate, up, dout) = (rng.unit() * 8.0, rng.unit() * 3.0, rng.unit());
        let (dgate, dup) = naive::backward(gate, up, dout);
        let want = differences(&[gate, up], |x| dout * naive::forward(x[0], x[1]));
        gradient("dgate, dup", &[dgate, dup], &want);
    }
}

#[test]
fn the_fast_form_equals_the_naive_one_far_from_zero_too() {
    let mut rng = Rng(8);
    for (n, size) in [(1, 1.0), (33, 5.0), (40_000, 20.0), (1000, 200.0), (0, 1.0)] {
        let (gate, up, dout) = (rng.vec(n, size), rng.vec(n, 2.0), rng.vec(n, 2.0));
        let (mut out, mut dgate, mut dup) = (poison(n), poison(n), poison(n));
        forward(&gate, &up, &mut out).unwrap();
        backward(&gate, &up, &dout, &mut dgate, &mut dup).unwrap();
        for i in 0..n {
            let (g, u, d) = (f64::from(gate[i]), f64::from(up[i]), f64::from(dout[i]));
            let (want_dgate, want_dup) = naive::backward(g, u, d);
            close("out", &out[i..=i], &[naive::forward(g, u)], 1e-6);
            // The derivative crosses zero near −1.28: the error is measured against the factors, not the result.
            let error = (f64::from(dgate[i]) - want_dgate).abs();
            let factors = (d * u).abs() * (1.0 + g.abs());
            assert!(error <= 3e-7 * factors.max(1e-3), "gate {g}: {error}");
            close("dup", &dup[i..=i], &[want_dup], 1e-6);
        }
    }
}
