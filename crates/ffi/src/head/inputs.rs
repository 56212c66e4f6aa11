//! What a head is made of, checked: sizes that agree, targets within the vocabulary, the rows that are scored.

use halo_kernels::elements::Elements;
use halo_kernels::head::logits::Logits;
use halo_kernels::head::{CHUNK, Head};
use halo_kernels::shaping::Shaping;

use super::{HALO_EXEC_DETERMINISTIC, halo_exec, halo_head};
use crate::failure::{Failure, Outcome};
use crate::intake::Host;
use crate::status::*;
use crate::tensor::{Dtype, Tensor};

const FLOATS: &[Dtype] = &[Dtype::F32, Dtype::Bf16, Dtype::F16];

/// A head whose tensors were checked, and its scored rows.
pub(super) struct Inputs {
    pub(super) source: Source,
    pub(super) shaping: Shaping,
    /// All rows, words.
    pub(super) n: usize,
    pub(super) v: usize,
    /// The scored rows in order, and the target of each.
    pub(super) rows: Vec<u32>,
    pub(super) targets: Vec<u32>,
    pub(super) chunk: usize,
}

pub(super) enum Source {
    Hidden {
        hidden: Tensor,
        weight: Tensor,
        /// The tensor and its values: there are few.
        bias: Option<(Tensor, Vec<f32>)>,
    },
    Logits(Tensor),
}

impl Inputs {
    /// # Errors
    /// Tensors that are missing, contradict each other or are not as documented; a target outside the vocabulary; numbers that
    /// are none.
    pub(super) fn read(host: &Host, head: &halo_head) -> Outcome<Inputs> {
        let fail = |site: &str, message: String| {
            Failure::new(HALO_E_INVALID_ARGUMENT, site, message).argument(0)
        };
        if head.flags != 0 {
            let message = format!("head.flags = {} holds unknown flags", head.flags);
            return Err(Failure::new(HALO_E_UNSUPPORTED, "head.flags", message).argument(0));
        }
        let any = &[None, None];
        let hidden = host.tensor(0, "head.hidden", head.hidden, any, FLOATS)?;
        let weight = host.tensor(0, "head.weight", head.weight, any, FLOATS)?;
        let logits = host.tensor(0, "head.logits", head.logits, any, FLOATS)?;
        let (n, v, source) = match (hidden, weight, logits) {
            (None, None, Some(logits)) if head.bias.is_null() => {
                logits.check(host)?;
                (logits.shape[0], logits.shape[1], Source::Logits(logits))
            }
            (Some(hidden), Some(weight), None) => {
                let (v, h) = (weight.shape[0], weight.shape[1]);
                if hidden.shape[1] != h || h == 0 {
                    let message = format!(
                        "head.hidden has {} elements a row, head.weight {h}",
                        hidden.shape[1]
                    );
                    return Err(hidden.refuse(HALO_E_SHAPE, message));
                }
                hidden.check(host)?;
                weight.check(host)?;
                let bias = host.tensor(0, "head.bias", head.bias, &[Some(v)], FLOATS)?;
                let bias = bias.map(|bias| bias.values(host).map(|values| (bias, values)));
                let n = hidden.shape[0];
                let source = Source::Hidden {
                    hidden,
                    weight,
                    bias: bias.transpose()?,
                };
                (n, v, source)
            }
            _ => {
                let message = "a head has either hidden and weight, or logits alone".into();
                return Err(fail("head", message));
            }
        };
        if v == 0 || v.max(n) > u32::MAX as usize {
            let message = format!(
                "{n} rows and a vocabulary of {v}: up to 2^32 - 1 rows, and 1 to 2^32 - 1 words"
            );
            return Err(Failure::new(HALO_E_SHAPE, "head", message).argument(0));
        }
        let integers = &[Dtype::I32, Dtype::I64];
        let targets = host.tensor(0, "head.targets", head.targets, &[Some(n)], integers)?;
        let targets = targets.ok_or_else(|| fail("head.targets", "head.targets is NULL".into()))?;
        let targets = targets.integers(host)?;
        if let Some(row) = targets.iter().position(|target| *target >= v as i64) {
            let message = format!(
                "head.targets[{row}] = {} is outside the vocabulary of {v}",
                targets[row]
            );
            return Err(fail("head.targets", message).example(row));
        }
        let scored = || (0u32..).zip(&targets).filter(|(_, target)| **target >= 0);
        Ok(Inputs {
            source,
            shaping: shaping(head).map_err(|(site, message)| fail(site, message))?,
            n,
            v,
            rows: scored().map(|(row, _)| row).collect(),
            targets: scored().map(|(_, target)| *target as u32).collect(),
            chunk: match head.chunk {
                0 => CHUNK,
                chunk => usize::try_from(chunk).unwrap_or(usize::MAX).min(n.max(1)),
            },
        })
    }

    /// The head of hidden states.
    ///
    /// # Errors
    /// It is one of logits.
    pub(super) fn head<'a>(&'a self, host: &'a Host) -> Outcome<Option<Head<'a>>> {
        let Source::Hidden {
            hidden,
            weight,
            bias,
        } = &self.source
        else {
            return Ok(None);
        };
        Ok(Some(Head {
            hidden: hidden.elements(host)?,
            w: weight.elements(host)?,
            bias: bias.as_ref().map(|(_, values)| &values[..]),
            d: weight.shape[1],
            shaping: self.shaping,
        }))
    }

    /// The head of logits.
    pub(super) fn logits<'a>(&self, values: Elements<'a>) -> Logits<'a> {
        Logits {
            values,
            v: self.v,
            shaping: self.shaping,
        }
    }

    /// The scored rows' elements of a column.
    pub(super) fn gather(&self, column: &[f32]) -> Vec<f32> {
        self.rows.iter().map(|row| column[*row as usize]).collect()
    }

    /// A column of all rows from the scored ones', `width` elements each; 0 in the others.
    pub(super) fn scatter(&self, scored: &[f32], width: usize) -> Vec<f32> {
        let mut column = vec![0.0; self.n * width];
        for (row, from) in self.rows.iter().zip(scored.chunks_exact(width)) {
            column[*row as usize * width..][..width].copy_from_slice(from);
        }
        column
    }
}

/// Temperature and soft cap, 0 standing for none.
fn shaping(head: &halo_head) -> Result<Shaping, (&'static str, String)> {
    let number = |site, given: f64| match given {
        0.0 => Ok(None),
        given if (1e-6..=1e6).contains(&given) => Ok(Some(given as f32)),
        _ => Err((
            site,
            format!("{site} = {given} is outside 1e-6..=1e6, and not 0"),
        )),
    };
    Ok(Shaping {
        temperature: number("head.temperature", head.temperature)?.unwrap_or(1.0),
        softcap: number("head.softcap", head.softcap)?,
    })
}

/// # Errors
/// A size that is none; flags that this version does not know.
pub(super) fn exec(host: &Host, argument: usize, exec: *const halo_exec) -> Outcome {
    let flags = host.optional(argument, exec)?.map_or(0, |exec| exec.flags);
    if flags & !HALO_EXEC_DETERMINISTIC != 0 {
        let message = format!("exec.flags = {flags} holds unknown flags");
        return Err(Failure::new(HALO_E_UNSUPPORTED, "exec.flags", message).argument(argument));
    }
    Ok(())
}
