//! One source, several instruction sets: the loops of this crate are plain Rust that LLVM vectorises; here they are
//! compiled once per instruction set and chosen at run time.

use crate::exp::exp;

/// A loop nest to be compiled for every instruction set. `run` must be `#[inline(always)]`, and so must be what it calls:
/// a closure handed to a function that is not inlined (`collect`) is compiled without the instruction set.
pub(crate) trait Kernel {
    type Output;
    /// `FMA`: a fused multiply-add is one instruction here (elsewhere it would be a library call).
    fn run<const FMA: bool>(self) -> Self::Output;
}

/// Runs `kernel` in the best form that this processor has.
#[cfg(target_arch = "x86_64")]
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    fn avx512<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<true>()
    }
    #[target_feature(enable = "avx2,fma")]
    fn avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<true>()
    }
    match level() {
        // SAFETY: the processor has every feature that `avx512` enables.
        Level::Avx512 => unsafe { avx512(kernel) },
        // SAFETY: the processor has every feature that `avx2` enables.
        Level::Avx2 => unsafe { avx2(kernel) },
        Level::Portable => kernel.run::<false>(),
    }
}

#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Level {
    Portable,
    Avx2,
    Avx512,
}

#[cfg(target_arch = "x86_64")]
fn level() -> Level {
    let best = if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) {
        Level::Portable
    } else if is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
    {
        Level::Avx512
    } else {
        Level::Avx2
    };
    #[cfg(test)]
    return tests::capped(best);
    #[cfg(not(test))]
    best
}

/// Runs `kernel`; on aarch64 the baseline has fused multiply-add.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "aarch64")]
    return kernel.run::<true>();
    #[cfg(not(target_arch = "aarch64"))]
    kernel.run::<false>()
}

/// a·b + c, fused where that is one instruction.
#[inline(always)]
pub(crate) fn mul_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Independent accumulators of a reduction: enough to fill two 512-bit registers, so that sums vectorise without reassociation.
pub(crate) const LANES: usize = 32;

/// Σ aᵢ·bᵢ in a fixed order: LANES partial sums, then pairwise.
#[inline(always)]
pub(crate) fn dot<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut acc = [0.0f32; LANES];
    let (ac, ar) = a.as_chunks::<LANES>();
    let (bc, br) = b.as_chunks::<LANES>();
    for (a, b) in ac.iter().zip(bc) {
        for l in 0..LANES {
            acc[l] = mul_add::<FMA>(a[l], b[l], acc[l]);
        }
    }
    for (l, (a, b)) in ar.iter().zip(br).enumerate() {
        acc[l] = mul_add::<FMA>(*a, *b, acc[l]);
    }
    fold(acc, |a, b| a + b)
}

/// x ← exp(x − max), and Σ of the results in a fixed order.
#[inline(always)]
pub(crate) fn softmax_sum<const FMA: bool>(x: &mut [f32], max: f32) -> f32 {
    let mut acc = [0.0f32; LANES];
    let (chunks, rest) = x.as_chunks_mut::<LANES>();
    for x in chunks {
        for l in 0..LANES {
            x[l] = exp::<FMA>(x[l] - max);
            acc[l] += x[l];
        }
    }
    for (acc, x) in acc.iter_mut().zip(rest) {
        *x = exp::<FMA>(*x - max);
        *acc += *x;
    }
    fold(acc, |a, b| a + b)
}

/// The largest element; −∞ of none.
#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut acc = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for x in chunks {
        for l in 0..LANES {
            acc[l] = larger(acc[l], x[l]);
        }
    }
    for (acc, x) in acc.iter_mut().zip(rest) {
        *acc = larger(*acc, *x);
    }
    fold(acc, larger)
}

/// Pairwise reduction of the lanes.
#[inline(always)]
pub(crate) fn fold(mut acc: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for l in 0..width {
            acc[l] = f(acc[l], acc[l + width]);
        }
        width /= 2;
    }
    acc[0]
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::Level;
    use crate::attention::{Cache, Layout, Seg, Shape, backward, cached, forward};
    use crate::elements::{Elements, ElementsMut};
    use crate::rope::RopeTable;
    use crate::shaping::Shaping;
    use crate::{head, optim, rms_norm, rope, swiglu};
    use std::sync::atomic::{AtomicU8, Ordering};

    /// The best level that dispatch may use: 0, 1, 2. Other tests only get slower while it is low.
    static CAP: AtomicU8 = AtomicU8::new(2);

    pub(super) fn capped(best: Level) -> Level {
        let cap = [Level::Portable, Level::Avx2, Level::Avx512];
        let cap = cap[usize::from(CAP.load(Ordering::SeqCst))];
        if cap < best { cap } else { best }
    }

    fn values(n: usize, seed: usize) -> Vec<f32> {
        (0..n)
            .map(|i| ((i * 37 + seed * 101) % 1009) as f32 / 504.0 - 1.0)
            .collect()
    }

    /// Every op that dispatches, once.
    fn everything() -> Result<Vec<Vec<f32>>, crate::Error> {
        let (n, d) = (70, 48);
        let (x, w, dy) = (values(n * d, 1), values(d, 2), values(n * d, 3));
        let mut out = vec![];

        let (mut y, mut rstd) = (vec![0.0; n * d], vec![0.0; n]);
        rms_norm::forward(&x, &w, 1e-5, &mut y, &mut rstd, n, d)?;
        let (mut dx, mut dw) = (vec![0.0; n * d], vec![0.0; d]);
        rms_norm::backward(&x, &w, &rstd, &dy, &mut dx, Some(&mut dw), n, d)?;
        out.extend([y, rstd, dx, dw]);

        let (mut act, mut dgate, mut dup) = (vec![0.0; n * d], vec![0.0; n * d], vec![0.0; n * d]);
        swiglu::forward(&x, &dy, &mut act)?;
        swiglu::backward(&x, &dy, &act, &mut dgate, &mut dup)?;
        out.extend([act, dgate, dup]);

        let table = RopeTable::new(&[1.0, 0.1, 0.01, 0.001], n);
        let positions: Vec<u32> = (0..n as u32).collect();
        let mut turned = x.clone();
        rope::apply(&mut turned, 6, &positions, &table)?;
        out.push(turned);

        let shape = Shape {
            heads: 6,
            kv_heads: 2,
            head_dim: 8,
            scale: 0.35,
        };
        let layout = Layout {
            segments: vec![Seg {
                rows: 0..n,
                pos0: 0,
                kv: vec![0],
                tree: 0,
            }],
            window: Some(33),
        };
        let (k, v) = (values(n * 16, 4), values(n * 16, 5));
        let (mut o, mut lse) = (vec![0.0; n * d], vec![0.0; n * 6]);
        forward(&x, &k, &v, &mut o, &mut lse, &layout, &shape)?;
        let (mut dq, mut dk, mut dv) = (vec![0.0; n * d], vec![0.0; n * 16], vec![0.0; n * 16]);
        backward(
            &x, &k, &v, &o, &lse, &dy, &mut dq, &mut dk, &mut dv, &layout, &shape,
        )?;
        let mut last = vec![0.0; d];
        cached(&x[..d], &[Cache { k: &k, v: &v }], &mut last, None, &shape)?;
        out.extend([o, lse, dq, dk, dv, last]);

        let words = values(300 * d, 6);
        let (rows, targets) = ([0, 1, 1, 69], [299, 0, 7, 8]);
        let (mut logps, mut lse, mut u) = (vec![0.0; 4], vec![0.0; 4], vec![0.0; 4 * d]);
        head::forward(
            &x,
            &words,
            d,
            &rows,
            &targets,
            &mut logps,
            &mut lse,
            Some(&mut u),
            64,
        )?;
        let (mut dh, mut dw) = (vec![0.0; n * d], vec![0.0; 300 * d]);
        head::backward_trained(
            &x, &words, d, &lse, &rows, &targets, &[1.0; 4], &mut dh, &mut dw, 64,
        )?;
        out.extend([logps, lse, u, dh, dw]);
        out.extend(shaped_head(&x, &words, d)?);

        let cfg = optim::AdamW::default();
        let (mut p, mut m, mut v) = (x.clone(), vec![0.0; n * d], vec![0.0; n * d]);
        optim::step(&mut p, &dy, &mut m, &mut v, 1, &cfg, true, 0.5)?;
        out.extend([p, m, v, vec![optim::sum_squares(&x) as f32]]);
        Ok(out)
    }

    /// The head with everything that may be asked of it, and the same of logits.
    fn shaped_head(x: &[f32], words: &[f32], d: usize) -> Result<Vec<Vec<f32>>, crate::Error> {
        let (bias, shaping) = (
            values(300, 7),
            Shaping {
                temperature: 0.7,
                softcap: Some(2.0),
            },
        );
        let head = head::Head {
            bias: Some(&bias),
            shaping,
            ..head::Head::plain(x, words, d)
        };
        let logits = head::logits::Logits {
            values: Elements::F32(words),
            v: d,
            shaping,
        };
        let rows = [0, 1, 5];
        let mut out = vec![];
        for from_logits in [false, true] {
            let (mut logps, mut lse, mut entropy) = (vec![0.0; 3], vec![0.0; 3], vec![0.0; 3]);
            let mut u = vec![0.0; 3 * d];
            let scores = head::Scores {
                logps: &mut logps,
                lse: &mut lse,
                entropy: Some(&mut entropy),
                stored: (!from_logits).then_some(&mut u),
            };
            match from_logits {
                true => logits.forward(&rows, &[7, 0, 1], scores)?,
                false => head.forward(&rows, &[7, 0, 1], scores, 2)?,
            }
            let seeds = head::Seeds {
                lse: &lse,
                dlogps: &[1.0, -0.5, 2.0],
                entropy: Some((&entropy, &[0.5, 1.0, -1.0])),
            };
            let (mut dh, mut dx) = (vec![0.0; x.len()], words.to_vec());
            match from_logits {
                true => {
                    let place = head::logits::Place::Over(ElementsMut::F32(&mut dx));
                    head::logits::backward(place, d, shaping, &rows, &[7, 0, 1], seeds)?;
                }
                false => {
                    let grads = head::Grads {
                        dhidden: Some(&mut dh),
                        ..Default::default()
                    };
                    head.backward(&rows, &[7, 0, 1], seeds, grads, 2)?;
                }
            }
            out.extend([logps, lse, entropy, u, dh, dx]);
        }
        Ok(out)
    }

    #[test]
    fn every_instruction_set_gives_the_same_values() {
        let best = everything().unwrap();
        for cap in [0, 1] {
            CAP.store(cap, Ordering::SeqCst);
            let other = everything().unwrap();
            CAP.store(2, Ordering::SeqCst);
            for (i, (best, other)) in best.iter().zip(&other).enumerate() {
                let size = best.iter().fold(1.0f32, |m, x| m.max(x.abs()));
                for (a, b) in best.iter().zip(other) {
                    // Without fused multiply-add sums round differently.
                    assert!(
                        (a - b).abs() <= 2e-5 * size,
                        "level {cap}, output {i}: {a} {b}"
                    );
                }
            }
        }
    }
}
