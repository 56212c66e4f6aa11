use crate::support::*;
use halo_kernels::matmul::*;

#[test]
fn products_of_any_shape_and_stride_match_the_definition() {
    let mut rng = Rng(1);
    for _ in 0..60 {
        let (m, n, k) = (rng.below(70), rng.below(70), rng.below(70));
        let (beta, alpha) = ([0.0, 1.0, -0.5][rng.below(3)], [1.0, 2.0][rng.below(2)]);
        let (ta, tb, tc) = (rng.below(2) == 1, rng.below(2) == 1, rng.below(2) == 1);
        let a = rng.vec(m * k, 1.0);
        let b = rng.vec(k * n, 1.0);
        let c0 = rng.vec(m * n, 1.0);
        let mut c = if beta == 0.0 {
            poison(m * n)
        } else {
            c0.clone()
        };
        {
            let a = if ta {
                Mat::new(&a, k, m).unwrap().t()
            } else {
                Mat::new(&a, m, k).unwrap()
            };
            let b = if tb {
                Mat::new(&b, n, k).unwrap().t()
            } else {
                Mat::new(&b, k, n).unwrap()
            };
            let c = if tc {
                MatMut::new(&mut c, n, m).unwrap().t()
            } else {
                MatMut::new(&mut c, m, n).unwrap()
            };
            matmul(c, beta, alpha, a, b).unwrap();
        }
        let mut want = vec![0.0; m * n];
        for i in 0..m {
            for j in 0..n {
                let at = if tc { j * m + i } else { i * n + j };
                let mut sum = 0.0;
                for l in 0..k {
                    let a = a[if ta { l * m + i } else { i * k + l }];
                    let b = b[if tb { j * k + l } else { l * n + j }];
                    sum += f64::from(a) * f64::from(b);
                }
                want[at] = f64::from(alpha) * sum + f64::from(beta) * f64::from(c0[at]);
            }
        }
        // f32 sums of up to 70 products.
        close("c", &c, &want, 1e-5);
    }
}

#[test]
fn a_linear_layer_and_its_gradients_match_the_definition() {
    let mut rng = Rng(2);
    let mut shapes: Vec<(usize, usize, usize)> = (0..20)
        .map(|_| (1 + rng.below(200), 1 + rng.below(90), 1 + rng.below(90)))
        .collect();
    // Tiles: one row, few rows, rows 2 KiB apart, several chunks of rows, edges of every kind.
    shapes.extend([
        (1, 700, 900),
        (3, 512, 401),
        (16, 512, 70),
        (17, 512, 100),
        (40, 1024, 65),
        (600, 130, 70),
        (1100, 20, 64),
        (2500, 16, 20),
    ]);
    for (n, i, o) in shapes {
        let (x, w) = (rng.vec(n * i, 1.0), rng.vec(o * i, 1.0));
        let (dy, beta) = (rng.vec(n * o, 1.0), [0.0, 0.5][rng.below(2)]);
        let y0 = rng.vec(n * o, 1.0);
        let mut y = if beta == 0.0 {
            poison(n * o)
        } else {
            y0.clone()
        };
        let (mut dx, mut dw) = (rng.vec(n * i, 1.0), rng.vec(o * i, 1.0));
        let mut want_y: Vec<f64> = y0.iter().map(|y| f64::from(*y * beta)).collect();
        let (mut want_dx, mut want_dw) = (wide(&dx), wide(&dw));
        for r in 0..n {
            for c in 0..o {
                let g = f64::from(dy[r * o + c]);
                for j in 0..i {
                    want_y[r * o + c] += f64::from(x[r * i + j]) * f64::from(w[c * i + j]);
                    want_dx[r * i + j] += g * f64::from(w[c * i + j]);
                    want_dw[c * i + j] += 0.5 * g * f64::from(x[r * i + j]);
                }
            }
        }
        linear(&x, &w, &mut y, n, i, o, beta).unwrap();
        linear_dx(&dy, &w, &mut dx, n, i, o, 1.0).unwrap();
        linear_dw(&dy, &x, &mut dw, n, i, o, 0.5).unwrap();
        close("y", &y, &want_y, 1e-5);
        close("dx", &dx, &want_dx, 1e-5);
        close("dw", &dw, &want_dw, 1e-5);
    }
}

#[test]
fn a_product_is_the_same_on_every_run_of_a_pool() {
    let mut rng = Rng(24);
    let (n, i, o) = (700, 128, 192);
    let (x, w, dy) = (
        rng.vec(n * i, 1.0),
        rng.vec(o * i, 1.0),
        rng.vec(n * o, 1.0),
    );
    for pool in [1, 2, 3] {
        let run = || {
            let (mut y, mut dx, mut dw) = (poison(n * o), poison(n * i), vec![0.0; o * i]);
            linear(&x, &w, &mut y, n, i, o, 0.0).unwrap();
            linear_dx(&dy, &w, &mut dx, n, i, o, 0.0).unwrap();
            linear_dw(&dy, &x, &mut dw, n, i, o, 1.0).unwrap();
            [bits(&y), bits(&dx), bits(&dw)]
        };
        let first = threads(pool, run);
        for _ in 0..5 {
            assert!(threads(pool, run) == first);
        }
    }
}

#[test]
fn views_outside_their_slice_and_overlapping_destinations_are_refused() {
    let mut data = vec![0.0; 12];
    assert!(Mat::new(&data, 3, 5).unwrap_err().is_length());
    assert!(Mat::strided(&data, 3, 4, 5, 1).unwrap_err().is_shape());
    assert!(
        Mat::strided(&data, 2, 2, usize::MAX, 1)
            .unwrap_err()
            .is_shape()
    );
    assert!(Mat::strided(&data, 3, 4, 0, 1).is_ok());
    assert!(
        MatMut::strided(&mut data, 3, 4, 0, 1)
            .unwrap_err()
            .is_shape()
    );
    assert!(
        MatMut::strided(&mut data, 3, 4, 3, 1)
            .unwrap_err()
            .is_shape()
    );
    let (a, mut c) = (vec![0.0; 6], vec![0.0; 6]);
    let error = matmul(
        MatMut::new(&mut c, 2, 3).unwrap(),
        0.0,
        1.0,
        Mat::new(&a, 2, 3).unwrap(),
        Mat::new(&a, 2, 3).unwrap(),
    );
    assert!(error.unwrap_err().is_shape());
}
