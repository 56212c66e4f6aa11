//! Log-probabilities of the scored rows, and what the host wants beside them.

use halo_kernels::head::Scores;

use super::halo_head_stats;
use super::inputs::{Inputs, Source};
use crate::failure::{Failure, Outcome};
use crate::intake::Host;
use crate::pool;
use crate::status::*;
use crate::tensor::{Dtype, Tensor};

/// Computes everything, and writes it when all is well.
pub(super) fn run(host: &Host, inputs: &Inputs, stats: &halo_head_stats) -> Outcome {
    let column = |name, tensor| -> Outcome<Option<Tensor>> {
        let tensor = host.tensor(1, name, tensor, &[Some(inputs.n)], &[Dtype::F32])?;
        tensor
            .as_ref()
            .map_or(Ok(()), |tensor| tensor.check(host))?;
        Ok(tensor)
    };
    let logp = column("stats.logp", stats.logp)?;
    let lse = column("stats.lse", stats.lse)?;
    let entropy = column("stats.entropy", stats.entropy)?;
    let unit = unit(host, inputs, stats)?;

    let (m, width) = (
        inputs.rows.len(),
        unit.as_ref().map_or(1, |unit| unit.shape[1]),
    );
    let scored = pool::run(|| {
        let mut scored = Scored {
            logp: vec![0.0; m],
            lse: vec![0.0; m],
            entropy: entropy.as_ref().map(|_| vec![0.0; m]),
            unit: unit.as_ref().map(|_| vec![0.0; m * width]),
        };
        let (rows, targets) = (&inputs.rows, &inputs.targets);
        match (&inputs.source, inputs.head(host)?) {
            (_, Some(head)) => head.forward(rows, targets, scored.places(), inputs.chunk)?,
            (Source::Logits(logits), None) => {
                let logits = inputs.logits(logits.elements(host)?);
                logits.forward(rows, targets, scored.places())?;
            }
            (Source::Hidden { .. }, None) => {}
        }
        match scored.unfinished(width) {
            Some(at) => Err(why(host, inputs, at, scored.logp[at])?),
            None => Ok(scored),
        }
    })?;

    let write = |tensor: &Option<Tensor>, scored: &[f32], width| {
        let write = |tensor: &Tensor| tensor.write(host, &inputs.scatter(scored, width));
        tensor.as_ref().map_or(Ok(()), write)
    };
    write(&logp, &scored.logp, 1)?;
    write(&lse, &scored.lse, 1)?;
    write(&entropy, scored.entropy.as_deref().unwrap_or_default(), 1)?;
    write(&unit, scored.unit.as_deref().unwrap_or_default(), width)
}

/// The place for d logp / d hidden.
fn unit(host: &Host, inputs: &Inputs, stats: &halo_head_stats) -> Outcome<Option<Tensor>> {
    let name = "stats.unit_d_hidden";
    let (dims, dtypes) = match &inputs.source {
        Source::Hidden { hidden, .. } => (
            [Some(inputs.n), Some(hidden.shape[1])],
            [Dtype::F32, hidden.dtype],
        ),
        Source::Logits(_) if stats.unit_d_hidden.is_null() => return Ok(None),
        Source::Logits(_) => {
            let message = format!("{name} is asked for, but a head of logits has no hidden states");
            return Err(Failure::new(HALO_E_INVALID_ARGUMENT, name, message).argument(1));
        }
    };
    let unit = host.tensor(1, name, stats.unit_d_hidden, &dims, &dtypes)?;
    unit.as_ref().map_or(Ok(()), |unit| unit.check(host))?;
    Ok(unit)
}

/// Results of the scored rows.
struct Scored {
    logp: Vec<f32>,
    lse: Vec<f32>,
    entropy: Option<Vec<f32>>,
    unit: Option<Vec<f32>>,
}

impl Scored {
    fn places(&mut self) -> Scores<'_> {
        Scores {
            logps: &mut self.logp,
            lse: &mut self.lse,
            entropy: self.entropy.as_deref_mut(),
            stored: self.unit.as_deref_mut(),
        }
    }

    /// The first entry with a result that is NaN or infinite.
    fn unfinished(&self, width: usize) -> Option<usize> {
        let first = |column: &[f32]| column.iter().position(|x| !x.is_finite());
        let optional = |column: &Option<Vec<f32>>| column.as_deref().and_then(first);
        [
            first(&self.logp),
            first(&self.lse),
            optional(&self.entropy),
            optional(&self.unit).map(|at| at / width),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

/// Where a result that is NaN or infinite comes from.
fn why(host: &Host, inputs: &Inputs, at: usize, logp: f32) -> Outcome<Failure> {
    let row = inputs.rows[at] as usize;
    let target = inputs.targets[at] as usize;
    if let Some(failure) = poisoned(host, inputs, row)? {
        return Ok(failure.example(row));
    }
    let message = match logp == f32::NEG_INFINITY {
        true => format!(
            "row {row}: its target {target} is masked out, so its log-probability is -infinity"
        ),
        false => format!("row {row}: its logits hold NaN or +infinity, or overflow"),
    };
    Ok(Failure::new(HALO_E_NONFINITE, "head", message)
        .argument(0)
        .example(row))
}

/// A hidden state of one scored row, or a word of the matrix, that is NaN or infinite.
pub(super) fn poisoned(host: &Host, inputs: &Inputs, row: usize) -> Outcome<Option<Failure>> {
    let Source::Hidden { hidden, weight, .. } = &inputs.source else {
        return Ok(None);
    };
    let d = weight.shape[1];
    let states = hidden.elements(host)?.range(row * d..(row + 1) * d);
    if let Some(at) = states.find_nonfinite() {
        let message = format!("head.hidden[{row}, {at}] is NaN or infinite");
        return Ok(Some(hidden.refuse(HALO_E_NONFINITE, message)));
    }
    Ok(weight.elements(host)?.find_nonfinite().map(|at| {
        let message = format!("head.weight[{}, {}] is NaN or infinite", at / d, at % d);
        weight.refuse(HALO_E_NONFINITE, message)
    }))
}
