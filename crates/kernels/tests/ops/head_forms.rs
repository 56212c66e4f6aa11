//! The head in every form that a host may ask for: half widths, bias, soft cap, temperature, entropy; hidden states or logits.

use crate::support::*;
use half::{bf16, f16};
use halo_kernels::elements::{Elements, ElementsMut};
use halo_kernels::head::logits::{Logits, Place, backward};
use halo_kernels::head::naive::Form;
use halo_kernels::head::{Grads, Head, Scores, Seeds};
use halo_kernels::shaping::Shaping;

/// Numbers of one type, which own themselves.
enum Stored {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
}

impl Stored {
    fn new(kind: usize, x: &[f32]) -> Stored {
        match kind {
            0 => Stored::F32(x.to_vec()),
            1 => Stored::Bf16(x.iter().map(|&x| bf16::from_f32(x)).collect()),
            _ => Stored::F16(x.iter().map(|&x| f16::from_f32(x)).collect()),
        }
    }

    fn view(&self) -> Elements<'_> {
        match self {
            Stored::F32(x) => Elements::F32(x),
            Stored::Bf16(x) => Elements::Bf16(x),
            Stored::F16(x) => Elements::F16(x),
        }
    }

    fn places(&mut self) -> ElementsMut<'_> {
        match self {
            Stored::F32(x) => ElementsMut::F32(x),
            Stored::Bf16(x) => ElementsMut::Bf16(x),
            Stored::F16(x) => ElementsMut::F16(x),
        }
    }

    fn values(&self) -> Vec<f32> {
        let mut scratch = Vec::new();
        let view = self.view();
        view.widen(0..view.len(), &mut scratch).to_vec()
    }

    /// Relative rounding of one stored number.
    fn rounding(&self) -> f64 {
        match self {
            Stored::F32(_) => 0.0,
            Stored::Bf16(_) => 1.0 / 256.0,
            Stored::F16(_) => 1.0 / 2048.0,
        }
    }
}

const SHAPINGS: [Shaping; 4] = [
    Shaping::PLAIN,
    Shaping {
        temperature: 0.7,
        softcap: None,
    },
    Shaping {
        temperature: 1.0,
        softcap: Some(3.0),
    },
    Shaping {
        temperature: 1.6,
        softcap: Some(2.0),
    },
];

fn form(bias: &[f32], shaping: Shaping) -> Form<f64> {
    Form {
        bias: wide(bias),
        temperature: f64::from(shaping.temperature),
        softcap: shaping.softcap.map(f64::from),
    }
}

#[test]
fn the_naive_gradient_by_logits_is_the_finite_difference() {
    let mut rng = Rng(31);
    for shaping in SHAPINGS {
        let x = wide(&rng.vec(9, 3.0));
        let form = form(&[0.0; 9], shaping);
        let objective = |x: &[f64]| {
            let (logp, _, entropy) = form.score(x, 4);
            0.8 * logp - 1.3 * entropy
        };
        let ours = form.gradient(&x, 4, 0.8, -1.3);
        gradient("dlogits", &ours, &differences(&x, objective));
    }
}

#[test]
fn every_form_of_the_head_equals_the_naive_one() {
    let mut rng = Rng(32);
    let shapes = [
        (1, 1, 1, 1, 1),
        (5, 3, 7, 9, 2),
        (40, 16, 700, 60, 7),
        (6, 8, 513, 6, 64),
    ];
    for (n, d, v, m, chunk) in shapes {
        for kind in 0..3 {
            for (with_bias, shaping) in [false, true]
                .into_iter()
                .zip(SHAPINGS)
                .chain([(true, SHAPINGS[2]), (true, SHAPINGS[3])])
            {
                let hidden = Stored::new(kind, &rng.vec(n * d, 1.5));
                let w = Stored::new(kind, &rng.vec(v * d, 1.0));
                let bias = match with_bias {
                    true => rng.vec(v, 1.0),
                    false => vec![0.0; v],
                };
                let head = Head {
                    hidden: hidden.view(),
                    w: w.view(),
                    bias: with_bias.then_some(&bias),
                    d,
                    shaping,
                };
                let mut rows = rng.indices(m, n);
                rows.sort_unstable();
                let targets = rng.indices(m, v);
                let (dlogps, dentropy) = (rng.vec(m, 1.0), rng.vec(m, 1.0));
                for pool in [1, 3] {
                    threads(pool, || {
                        agrees(
                            &head,
                            &form(&bias, shaping),
                            &rows,
                            &targets,
                            &dlogps,
                            &dentropy,
                            chunk,
                        )
                    });
                }
            }
        }
    }
}

fn agrees(
    head: &Head,
    form: &Form<f64>,
    rows: &[u32],
    targets: &[u32],
    dlogps: &[f32],
    dentropy: &[f32],
    chunk: usize,
) {
    let (m, d) = (rows.len(), head.d);
    let mut scratch = Vec::new();
    let hidden = wide(head.hidden.widen(0..head.hidden.len(), &mut scratch));
    let w = wide(head.w.widen(0..head.w.len(), &mut scratch));
    let (v, n) = (w.len() / d, hidden.len() / d);

    let (mut logps, mut lse) = (poison(m), poison(m));
    let (mut entropy, mut u) = (poison(m), poison(m * d));
    let scores = Scores {
        logps: &mut logps,
        lse: &mut lse,
        entropy: Some(&mut entropy),
        stored: Some(&mut u),
    };
    head.forward(rows, targets, scores, chunk).unwrap();
    let seeds = Seeds {
        lse: &lse,
        dlogps,
        entropy: Some((&entropy, dentropy)),
    };
    let (mut dhidden, mut dbias) = (vec![0.5; n * d], vec![0.25; v]);
    let mut dw = vec![-0.5; v * d];
    let grads = Grads {
        dhidden: Some(&mut dhidden),
        dw: Some(ElementsMut::F32(&mut dw)),
        dbias: Some(&mut dbias),
    };
    head.backward(rows, targets, seeds, grads, chunk).unwrap();
    let mut alone = Stored::new(1, &vec![0.0; v * d]);
    let grads = Grads {
        dw: Some(alone.places()),
        ..Grads::default()
    };
    head.backward(rows, targets, seeds, grads, chunk).unwrap();

    let (mut want_dh, mut want_dw) = (vec![0.5; n * d], vec![0.0; v * d]);
    let mut want_db = vec![0.25; v];
    let (mut want, mut want_u) = ([vec![], vec![], vec![]], vec![]);
    for i in 0..m {
        let row = rows[i] as usize * d;
        let (h, y) = (&hidden[row..row + d], targets[i] as usize);
        let x = form.products(h, &w);
        let (logp, total, spread) = form.score(&x, y);
        want[0].push(logp);
        want[1].push(total);
        want[2].push(spread);
        let unit = form.gradient(&x, y, 1.0, 0.0);
        let both = form.gradient(&x, y, f64::from(dlogps[i]), f64::from(dentropy[i]));
        for k in 0..d {
            want_u.push((0..v).map(|j| unit[j] * w[j * d + k]).sum());
            want_dh[row + k] += (0..v).map(|j| both[j] * w[j * d + k]).sum::<f64>();
        }
        for j in 0..v {
            want_db[j] += both[j];
            for k in 0..d {
                want_dw[j * d + k] += both[j] * h[k];
            }
        }
    }
    // f32 logits of d products, through the slope of a cap.
    close("logps", &logps, &want[0], 5e-6);
    close("lse", &lse, &want[1], 3e-6);
    close("entropy", &entropy, &want[2], 1e-5);
    close("u", &u, &want_u, 5e-5);
    close("dhidden", &dhidden, &want_dh, 5e-5);
    close("dbias", &dbias, &want_db, 5e-5);
    // Rounded to bf16 once a chunk of distinct rows.
    let chunks = n.div_ceil(chunk) as f64;
    close("dw in bf16", &alone.values(), &want_dw, chunks / 256.0);
    let added: Vec<f64> = want_dw.iter().map(|dw| dw - 0.5).collect();
    close("dw", &dw, &added, 5e-5);
}

#[test]
fn logits_score_as_their_head_does() {
    let mut rng = Rng(33);
    for (n, v) in [(1, 1), (3, 5), (9, 256), (7, 700)] {
        for kind in 0..3 {
            for shaping in SHAPINGS {
                let x = Stored::new(kind, &rng.vec(n * v, 4.0));
                let (wide_x, form) = (wide(&x.values()), form(&vec![0.0; v], shaping));
                // Every third row has no entry.
                let rows: Vec<u32> = (0..n as u32).filter(|row| row % 3 != 1).collect();
                let (m, targets) = (rows.len(), rng.indices(rows.len(), v));
                let logits = Logits {
                    values: x.view(),
                    v,
                    shaping,
                };
                let (mut logps, mut lse, mut entropy) = (poison(m), poison(m), poison(m));
                let scores = Scores {
                    logps: &mut logps,
                    lse: &mut lse,
                    entropy: Some(&mut entropy),
                    stored: None,
                };
                threads(2, || logits.forward(&rows, &targets, scores)).unwrap();
                assert_eq!(logits.misfit(&rows, &lse).unwrap(), None);

                let (dlogps, dentropy) = (rng.vec(m, 1.0), rng.vec(m, 1.0));
                let seeds = Seeds {
                    lse: &lse,
                    dlogps: &dlogps,
                    entropy: Some((&entropy, &dentropy)),
                };
                let mut over = Stored::new(kind, &x.values());
                let mut beside = Stored::new(kind, &vec![f32::NAN; n * v]);
                let place = Place::Over(over.places());
                backward(place, v, shaping, &rows, &targets, seeds).unwrap();
                let place = Place::Beside(x.view(), beside.places());
                backward(place, v, shaping, &rows, &targets, seeds).unwrap();
                assert_eq!(bits(&over.values()), bits(&beside.values()));

                let mut want = [vec![], vec![], vec![], vec![0.0; n * v]];
                for (i, &row) in rows.iter().enumerate() {
                    let range = row as usize * v..(row as usize + 1) * v;
                    let (x, y) = (&wide_x[range.clone()], targets[i] as usize);
                    let (logp, total, spread) = form.score(x, y);
                    want[0].push(logp);
                    want[1].push(total);
                    want[2].push(spread);
                    let by = form.gradient(x, y, f64::from(dlogps[i]), f64::from(dentropy[i]));
                    want[3][range].copy_from_slice(&by);
                }
                close("logps", &logps, &want[0], 3e-6);
                close("lse", &lse, &want[1], 1e-6);
                close("entropy", &entropy, &want[2], 3e-6);
                close("dlogits", &over.values(), &want[3], 1e-5 + over.rounding());
            }
        }
    }
}

#[test]
fn words_that_are_masked_out_have_no_part() {
    let (n, d, v) = (3, 4, 600);
    let mut rng = Rng(34);
    let (hidden, w) = (rng.vec(n * d, 1.0), rng.vec(v * d, 1.0));
    // The first block as a whole, and single words.
    let masked = |j: usize| j < 256 || j.is_multiple_of(5);
    let bias: Vec<f32> = (0..v)
        .map(|j| if masked(j) { f32::NEG_INFINITY } else { 0.0 })
        .collect();
    let head = Head {
        bias: Some(&bias),
        ..Head::plain(&hidden, &w, d)
    };
    let form = form(&bias, Shaping::PLAIN);
    let (rows, targets) = ([0, 1, 2], [301, 302, 599]);
    agrees(&head, &form, &rows, &targets, &[1.0; 3], &[0.5; 3], 2);

    let x: Vec<f64> = (0..n)
        .flat_map(|row| form.products(&wide(&hidden[row * d..][..d]), &wide(&w)))
        .collect();
    let x: Vec<f32> = x.iter().map(|&x| x as f32).collect();
    let logits = Logits {
        values: Elements::F32(&x),
        v,
        shaping: Shaping::PLAIN,
    };
    let (mut logps, mut lse, mut entropy) = ([0.0; 3], [0.0; 3], [0.0; 3]);
    let scores = Scores {
        logps: &mut logps,
        lse: &mut lse,
        entropy: Some(&mut entropy),
        stored: None,
    };
    logits.forward(&rows, &targets, scores).unwrap();
    assert_eq!(logits.misfit(&rows, &lse).unwrap(), None);
    let want: Vec<f64> = (0..n)
        .map(|i| form.score(&wide(&x[i * v..][..v]), targets[i] as usize).2)
        .collect();
    close("entropy", &entropy, &want, 3e-6);
    let mut over = x.clone();
    let seeds = Seeds {
        lse: &lse,
        dlogps: &[1.0; 3],
        entropy: Some((&entropy, &[0.5; 3])),
    };
    let place = Place::Over(ElementsMut::F32(&mut over));
    backward(place, v, Shaping::PLAIN, &rows, &targets, seeds).unwrap();
    assert!(over.iter().all(|x| x.is_finite()));
    assert!((0..n * v).all(|i| !masked(i % v) || over[i] == 0.0));
}

#[test]
fn a_number_that_is_none_is_never_hidden() {
    let (v, rows) = (600, [0, 1]);
    for bad in [f32::NAN, f32::INFINITY] {
        let mut x = vec![0.5; 2 * v];
        x[v + 300] = bad;
        let logits = Logits {
            values: Elements::F32(&x),
            v,
            shaping: Shaping::PLAIN,
        };
        let (mut logps, mut lse) = ([0.0; 2], [0.0; 2]);
        let scores = Scores {
            logps: &mut logps,
            lse: &mut lse,
            entropy: None,
            stored: None,
        };
        logits.forward(&rows, &[3, 3], scores).unwrap();
        assert!(logps[0].is_finite() && !logps[1].is_finite());
        let honest = [lse[0], lse[0]];
        assert_eq!(logits.misfit(&rows, &honest).unwrap(), Some(1));

        // The same through the product: a block of one word that is NaN has no maximum either.
        let w: Vec<f32> = x[v..].to_vec();
        let scores = Scores {
            logps: &mut logps,
            lse: &mut lse,
            entropy: None,
            stored: None,
        };
        Head::plain(&[1.0, -1.0], &w, 1)
            .forward(&rows, &[3, 3], scores, 8)
            .unwrap();
        assert!(logps.iter().any(|x| !x.is_finite()));
    }
    // Nothing but NaN is not a block that is masked out.
    let x = [f32::NAN; 4];
    let logits = Logits {
        values: Elements::F32(&x),
        v: 4,
        shaping: Shaping::PLAIN,
    };
    let (mut logps, mut lse) = ([0.0], [0.0]);
    let scores = Scores {
        logps: &mut logps,
        lse: &mut lse,
        entropy: None,
        stored: None,
    };
    logits.forward(&[0], &[0], scores).unwrap();
    assert!(lse[0].is_nan());
}

#[test]
fn rows_of_the_logits_may_not_repeat_on_the_way_back() {
    let mut x = [0.0; 4];
    let seeds = Seeds {
        lse: &[0.0; 2],
        dlogps: &[1.0; 2],
        entropy: None,
    };
    let place = Place::Over(ElementsMut::F32(&mut x));
    let error = backward(place, 2, Shaping::PLAIN, &[1, 1], &[0, 0], seeds).unwrap_err();
    assert!(error.is_shape());
    assert_eq!(x, [0.0; 4]);
}
