use crate::support::*;
use halo_kernels::rms_norm::{backward, forward, naive};

#[test]
fn the_naive_gradient_is_the_finite_difference() {
    let mut rng = Rng(3);
    for d in [1, 2, 5, 16] {
        let (x, w, dy) = (
            wide(&rng.vec(d, 2.0)),
            wide(&rng.vec(d, 2.0)),
            wide(&rng.vec(d, 1.0)),
        );
        let loss = |x: &[f64], w: &[f64]| {
            let mut y = vec![0.0; d];
            naive::forward(x, w, 1e-5, &mut y);
            dot(&y, &dy)
        };
        let rstd = naive::forward(&x, &w, 1e-5, &mut vec![0.0; d]);
        let (mut dx, mut dw) = (vec![0.0; d], vec![0.0; d]);
        naive::backward(&x, &w, rstd, &dy, &mut dx, &mut dw);
        gradient("dx", &dx, &differences(&x, |x| loss(x, &w)));
        gradient("dw", &dw, &differences(&w, |w| loss(&x, w)));
    }
}

#[test]
fn the_fast_form_equals_the_naive_one() {
    let mut rng = Rng(4);
    for (n, d) in [
        (1, 1),
        (3, 7),
        (64, 32),
        (65, 33),
        (200, 384),
        (130, 100),
        (0, 8),
    ] {
        let (x, w, dy) = (rng.vec(n * d, 3.0), rng.vec(d, 2.0), rng.vec(n * d, 1.0));
        let (dx0, dw0) = (rng.vec(n * d, 1.0), rng.vec(d, 1.0));
        let (mut y, mut rstd) = (poison(n * d), poison(n));
        forward(&x, &w, 1e-5, &mut y, &mut rstd, n, d).unwrap();
        let (mut dx, mut dw) = (dx0.clone(), dw0.clone());
        backward(&x, &w, &rstd, &dy, &mut dx, Some(&mut dw), n, d).unwrap();
        let mut dx_alone = dx0.clone();
        backward(&x, &w, &rstd, &dy, &mut dx_alone, None, n, d).unwrap();
        assert_eq!(bits(&dx), bits(&dx_alone));

        let (x, w, dy) = (wide(&x), wide(&w), wide(&dy));
        let (mut want, mut want_rstd) = (vec![0.0; n * d], vec![0.0; n]);
        let (mut want_dx, mut want_dw) = (wide(&dx0), wide(&dw0));
        for (r, want_rstd) in want_rstd.iter_mut().enumerate() {
            let row = r * d..(r + 1) * d;
            let (x, dy) = (&x[row.clone()], &dy[row.clone()]);
            *want_rstd = naive::forward(x, &w, 1e-5, &mut want[row.clone()]);
            naive::backward(x, &w, *want_rstd, dy, &mut want_dx[row], &mut want_dw);
        }
        close("y", &y, &want, 1e-6);
        close("rstd", &rstd, &want_rstd, 1e-6);
        close("dx", &dx, &want_dx, 1e-5);
        close("dw", &dw, &want_dw, 1e-5);
    }
}

#[test]
fn the_result_is_the_same_on_every_run() {
    let mut rng = Rng(5);
    let (n, d) = (700, 48);
    let (x, w, dy) = (rng.vec(n * d, 3.0), rng.vec(d, 2.0), rng.vec(n * d, 1.0));
    let run = || {
        let (mut y, mut rstd) = (poison(n * d), poison(n));
        forward(&x, &w, 1e-5, &mut y, &mut rstd, n, d).unwrap();
        let (mut dx, mut dw) = (vec![0.0; n * d], vec![0.0; d]);
        backward(&x, &w, &rstd, &dy, &mut dx, Some(&mut dw), n, d).unwrap();
        (bits(&y), bits(&dx), bits(&dw))
    };
    let first = threads(3, run);
    for n in [1, 2, 3, 3, 4] {
        assert!(
            threads(n, run) == first,
            "fixed chunks: even the number of threads changes nothing"
        );
    }
}

#[test]
fn wrong_lengths_are_refused_before_anything_is_written() {
    let (x, w) = (vec![1.0; 6], vec![1.0; 3]);
    let (mut y, mut rstd) = (vec![7.0; 6], vec![7.0; 1]);
    let error = forward(&x, &w, 1e-5, &mut y, &mut rstd, 2, 3).unwrap_err();
    assert_eq!(
        error.to_string(),
        "rms_norm::forward: `rstd` has 1 elements, expected 2"
    );
    assert_eq!(y, vec![7.0; 6]);
}
