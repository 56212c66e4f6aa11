use super::data::{DTYPES, numbers, rounded, stored};
use super::output::{Output, close, compare_and_keep, deviation, exact, runs, worst};
use crate::Error;
use crate::gpu::optim::EightBit;
use crate::gpu::{self, Dtype, Gpu};
use crate::optim::{self, AdamW, eight_bit};

const CFG: AdamW = AdamW {
    lr: 1e-2,
    beta1: 0.9,
    beta2: 0.999,
    eps: 1e-8,
    weight_decay: 0.1,
};

/// In f64; the last length makes more partial sums than a block has threads.
pub(super) fn sum_squares(gpu: &Gpu) -> Result<f64, Error> {
    let lengths = [0, 1, 255, 16_384, 16_385, 100_000, 257 * 16_384 + 5];
    worst(&DTYPES, &lengths, |dtype, n| {
        let (x, x_host) = stored(gpu, &numbers(n, 1), dtype)?;
        let expected = optim::sum_squares(&x_host);
        let found = gpu::optim::sum_squares(&x)?;
        for _ in 1..runs(gpu) {
            // On the device it stays whole.
            let again = gpu::optim::sum_squares_later(&x)?.get()?;
            if again != found.to_le_bytes() {
                return Ok(f64::INFINITY);
            }
        }
        let off = (found - expected).abs() / expected.max(1.0);
        Ok(if off.is_nan() { f64::INFINITY } else { off })
    })
}

/// Four steps, with and without decay; the copy is the rounded parameter.
pub(super) fn adamw(gpu: &Gpu) -> Result<f64, Error> {
    let cases = [
        (0, true),
        (1, false),
        (2048, true),
        (2049, false),
        (9001, true),
    ];
    worst(&DTYPES, &cases, |copied, (n, decay)| {
        let (start, gradients) = (numbers(n, 1), |t| numbers(n, 10 + t));
        let (mut p_host, mut m_host, mut v_host) = (start.clone(), vec![0.0; n], vec![0.0; n]);
        for t in 1..=4 {
            let (p, m, v) = (&mut p_host, &mut m_host, &mut v_host);
            optim::step(p, &gradients(t), m, v, t, &CFG, decay, 0.5)?;
        }
        let run = || {
            let holding = |values: &[f32]| Output::holding(gpu, Dtype::F32, values);
            let (p, zeros) = (holding(&start)?, vec![0.0; n]);
            let (m, v) = (holding(&zeros)?, holding(&zeros)?);
            let copy = Output::poisoned(gpu, copied, n)?;
            for t in 1..=4 {
                let g = gpu.upload(&gradients(t))?;
                let copy = (t > 1).then_some(&*copy);
                gpu::optim::step(&p, &g, &m, &v, copy, t, &CFG, decay, 0.5)?;
            }
            Ok([p, m, v, copy])
        };
        let [p, m, v] = [&p_host, &m_host, &v_host].map(|x| close(x));
        let (off, [p, _, _, copy]) = compare_and_keep(gpu, run, [p, m, v, p])?;
        Ok(off.max(copy_is_rounded(&p, &copy)?))
    })
}

/// Each of six steps from the CPU's state: parameters and the blocks' scales.
pub(super) fn eight_bit(gpu: &Gpu) -> Result<f64, Error> {
    eight_bit_steps(gpu, |gpu, step| {
        let run = || {
            let (p, copy, moments) = step.run(gpu)?;
            let (_, _, m_max, v_max) = moments.parts()?;
            let [m_max, v_max] = [m_max, v_max].map(|x| Output::holding(gpu, Dtype::F32, &x));
            Ok([p, copy, m_max?, v_max?])
        };
        let [p, m_max, v_max] = [&step.after.p, &step.after.m_max, &step.after.v_max];
        let expected = [p, p, m_max, v_max].map(|x| close(x));
        let (off, [p, copy, _, _]) = compare_and_keep(gpu, run, expected)?;
        Ok(off.max(copy_is_rounded(&p, &copy)?))
    })
}

/// Each of six steps from the CPU's state: the share of a moment's codes that differ, each by one place. A moment on the border of
/// two codes falls to this side or that by a last bit.
pub(super) fn eight_bit_codes(gpu: &Gpu) -> Result<f64, Error> {
    let (mut codes, mut differing) = (0, 0);
    let off = eight_bit_steps(gpu, |gpu, step| {
        let (_, _, moments) = step.run(gpu)?;
        let (m, v, _, _) = moments.parts()?;
        for _ in 1..runs(gpu) {
            let (_, _, again) = step.run(gpu)?;
            let (m_again, v_again, _, _) = again.parts()?;
            if (&m_again, &v_again) != (&m, &v) {
                return Ok(f64::INFINITY);
            }
        }
        for (found, expected) in [(&m, &step.after.m), (&v, &step.after.v)] {
            let places = || found.iter().zip(expected).map(|(x, y)| x.abs_diff(*y));
            if found.len() != expected.len() || places().any(|places| places > 1) {
                return Ok(f64::INFINITY);
            }
            codes += found.len();
            differing += places().filter(|places| *places > 0).count();
        }
        Ok(0.0)
    })?;
    Ok(off.max(differing as f64 / codes as f64))
}

/// The CPU's state.
#[derive(Clone)]
struct State {
    p: Vec<f32>,
    m: Vec<u8>,
    v: Vec<u8>,
    m_max: Vec<f32>,
    v_max: Vec<f32>,
}

/// One step of the CPU's.
struct EightBitStep {
    before: State,
    after: State,
    gradients: Vec<f32>,
    t: u64,
    copied: Dtype,
}

impl EightBitStep {
    /// The same on the device: parameters, their copy and the moments.
    fn run(&self, gpu: &Gpu) -> Result<(Output, Output, EightBit), Error> {
        let State {
            p,
            m,
            v,
            m_max,
            v_max,
        } = &self.before;
        let moments = EightBit::from_parts(gpu, m, v, m_max, v_max)?;
        let copy = Output::poisoned(gpu, self.copied, p.len())?;
        let p = Output::holding(gpu, Dtype::F32, p)?;
        let g = gpu.upload(&self.gradients)?;
        gpu::optim::step_eight_bit(&p, &g, &moments, Some(&copy), self.t, &CFG, true, 0.5)?;
        Ok((p, copy, moments))
    }
}

fn eight_bit_steps(
    gpu: &Gpu,
    mut check: impl FnMut(&Gpu, &EightBitStep) -> Result<f64, Error>,
) -> Result<f64, Error> {
    worst(&DTYPES, &[1, 256, 257, 5000], |copied, n| {
        let ((m, v), scales) = (eight_bit::zeros(n), vec![0.0; eight_bit::blocks(n)]);
        let mut state = State {
            p: numbers(n, 1),
            m,
            v,
            m_max: scales.clone(),
            v_max: scales,
        };
        worst(&[copied], &[1, 2, 3, 4, 5, 6], |copied, t| {
            let (before, gradients) = (state.clone(), numbers(n, 10 + t));
            let State {
                p,
                m,
                v,
                m_max,
                v_max,
            } = &mut state;
            eight_bit::step(p, &gradients, m, v, m_max, v_max, t, &CFG, true, 0.5)?;
            let step = EightBitStep {
                before,
                after: state.clone(),
                gradients,
                t,
                copied,
            };
            check(gpu, &step)
        })
    })
}

fn copy_is_rounded(p: &Output, copy: &Output) -> Result<f64, Error> {
    deviation(copy, exact(&rounded(&p.download()?, copy.dtype())))
}
