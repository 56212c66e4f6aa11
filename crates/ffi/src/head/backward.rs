//! Gradients of the scored rows.

use halo_kernels::elements::{Elements, ElementsMut};
use halo_kernels::head::logits::{Place, backward};
use halo_kernels::head::{Grads, Head, Seeds};

use super::forward::poisoned;
use super::inputs::{Inputs, Source};
use super::{HALO_GRADS_ACCUMULATE, halo_head_grads, halo_head_stats};
use crate::failure::{Failure, Outcome};
use crate::intake::Host;
use crate::pool;
use crate::status::*;
use crate::tensor::{DLTensor, Dtype, Tensor};

/// Checks everything that is read, then computes, then writes what is not written where it is.
pub(super) fn run(
    host: &Host,
    inputs: &Inputs,
    stats: &halo_head_stats,
    grads: &halo_head_grads,
) -> Outcome {
    if grads.flags & !HALO_GRADS_ACCUMULATE != 0 {
        let message = format!("grads.flags = {} holds unknown flags", grads.flags);
        return Err(Failure::new(HALO_E_UNSUPPORTED, "grads.flags", message).argument(2));
    }
    let incoming = Incoming::read(host, inputs, stats, grads)?;
    match &inputs.source {
        Source::Hidden {
            hidden,
            weight,
            bias,
        } => {
            refuse("grads.d_logits", grads.d_logits, "logits")?;
            let bias = bias.as_ref().map(|(tensor, _)| tensor);
            if bias.is_none() {
                refuse("grads.d_bias", grads.d_bias, "bias")?;
            }
            let places = Places {
                d_hidden: place(host, "grads.d_hidden", grads.d_hidden, Some(hidden))?,
                d_weight: place(host, "grads.d_weight", grads.d_weight, Some(weight))?,
                d_bias: place(host, "grads.d_bias", grads.d_bias, bias)?,
                accumulate: grads.flags & HALO_GRADS_ACCUMULATE != 0,
            };
            from_hidden(host, inputs, &incoming, &places)
        }
        Source::Logits(logits) => {
            refuse("grads.d_hidden", grads.d_hidden, "hidden states")?;
            refuse("grads.d_weight", grads.d_weight, "weight")?;
            refuse("grads.d_bias", grads.d_bias, "bias")?;
            match place(host, "grads.d_logits", grads.d_logits, Some(logits))? {
                Some(d_logits) => from_logits(host, inputs, &incoming, logits, &d_logits),
                None => Ok(()),
            }
        }
    }
}

/// A gradient may not be asked for where the head has no such tensor.
fn refuse(name: &'static str, tensor: *mut DLTensor, of: &str) -> Outcome {
    match tensor.is_null() {
        true => Ok(()),
        false => {
            let message = format!("{name} is asked for, but the head has no {of}");
            Err(Failure::new(HALO_E_INVALID_ARGUMENT, name, message).argument(2))
        }
    }
}

/// A place for the gradient of a tensor: of its shape, in f32 or its type.
fn place(
    host: &Host,
    name: &'static str,
    place: *mut DLTensor,
    of: Option<&Tensor>,
) -> Outcome<Option<Tensor>> {
    let Some(of) = of else {
        return Ok(None);
    };
    let dims: Vec<_> = of.shape.iter().copied().map(Some).collect();
    let place = host.tensor(2, name, place, &dims, &[Dtype::F32, of.dtype])?;
    place.as_ref().map_or(Ok(()), |place| place.check(host))?;
    Ok(place)
}

/// The scored rows of what comes back.
struct Incoming {
    lse: Vec<f32>,
    d_logp: Vec<f32>,
    entropy: Option<(Vec<f32>, Vec<f32>)>,
}

impl Incoming {
    /// # Errors
    /// A column that is missing, or a scored row of it that is NaN or infinite.
    fn read(
        host: &Host,
        inputs: &Inputs,
        stats: &halo_head_stats,
        grads: &halo_head_grads,
    ) -> Outcome<Incoming> {
        let column = |argument, name: &'static str, tensor: *const DLTensor| {
            let Some(tensor) =
                host.tensor(argument, name, tensor, &[Some(inputs.n)], &[Dtype::F32])?
            else {
                let message = format!("{name} is NULL, but backward reads it");
                let failure = Failure::new(HALO_E_INVALID_ARGUMENT, name, message);
                return Err(failure.argument(argument));
            };
            let scored = inputs.gather(&tensor.values(host)?);
            match scored.iter().position(|x| !x.is_finite()) {
                None => Ok(scored),
                Some(at) => {
                    let row = inputs.rows[at] as usize;
                    let message = format!("{name}[{row}] = {} is not finite", scored[at]);
                    Err(tensor.refuse(HALO_E_NONFINITE, message).example(row))
                }
            }
        };
        Ok(Incoming {
            lse: column(1, "stats.lse", stats.lse)?,
            d_logp: column(2, "grads.d_logp", grads.d_logp)?,
            entropy: match grads.d_entropy.is_null() {
                true => None,
                false => Some((
                    column(1, "stats.entropy", stats.entropy)?,
                    column(2, "grads.d_entropy", grads.d_entropy)?,
                )),
            },
        })
    }

    fn seeds(&self) -> Seeds<'_> {
        Seeds {
            lse: &self.lse,
            dlogps: &self.d_logp,
            entropy: self.entropy.as_ref().map(|(value, d)| (&value[..], &d[..])),
        }
    }
}

/// Where the gradients of a head of hidden states go.
struct Places {
    d_hidden: Option<Tensor>,
    d_weight: Option<Tensor>,
    d_bias: Option<Tensor>,
    accumulate: bool,
}

fn from_hidden(host: &Host, inputs: &Inputs, incoming: &Incoming, places: &Places) -> Outcome {
    let (Source::Hidden { hidden, weight, .. }, Some(head)) = (&inputs.source, inputs.head(host)?)
    else {
        return Ok(());
    };
    pool::run(|| finite(host, inputs, &head))?;
    let mut d_hidden = vec![0.0; places.d_hidden.as_ref().map_or(0, Tensor::len)];
    let mut d_bias = vec![0.0; places.d_bias.as_ref().map_or(0, Tensor::len)];
    let mut apart = vec![hidden, weight];
    apart.extend(&places.d_hidden);
    apart.extend(&places.d_bias);
    let d_weight = places.d_weight.as_ref();
    let mut d_weight = d_weight
        .map(|place| place.places(host, &apart))
        .transpose()?;
    pool::run(|| {
        if let Some(d_weight) = d_weight.as_mut().filter(|_| !places.accumulate) {
            d_weight.clear();
        }
        let grads = Grads {
            dhidden: places.d_hidden.as_ref().map(|_| &mut d_hidden[..]),
            dw: d_weight.as_mut().map(ElementsMut::again),
            dbias: places.d_bias.as_ref().map(|_| &mut d_bias[..]),
        };
        let (rows, targets) = (&inputs.rows, &inputs.targets);
        head.backward(rows, targets, incoming.seeds(), grads, inputs.chunk)?;
        overflow("grads.d_hidden", Elements::F32(&d_hidden), head.d)?;
        overflow("grads.d_bias", Elements::F32(&d_bias), 0)?;
        match d_weight.as_ref().map(ElementsMut::read) {
            // What f16 cannot hold is the host's loss scaling's business.
            None | Some(Elements::F16(_)) => Ok(()),
            Some(d_weight) => overflow("grads.d_weight", d_weight, 0),
        }
    })?;
    if let Some(place) = &places.d_bias {
        if places.accumulate {
            let before = place.values(host)?;
            d_bias
                .iter_mut()
                .zip(before)
                .for_each(|(d, before)| *d += before);
        }
        place.write(host, &d_bias)?;
    }
    match &places.d_hidden {
        Some(place) => place.write(host, &d_hidden),
        None => Ok(()),
    }
}

/// Every hidden state that is scored, every word and bias.
fn finite(host: &Host, inputs: &Inputs, head: &Head) -> Outcome {
    if let Some(at) = head.hidden.find_nonfinite() {
        let from = (at / head.d) as u32;
        let scored = inputs.rows.iter().filter(|row| **row >= from);
        for &row in scored {
            if let Some(failure) = poisoned(host, inputs, row as usize)? {
                return Err(failure.example(row as usize));
            }
        }
    }
    if let Some(at) = head.w.find_nonfinite() {
        let message = format!(
            "head.weight[{}, {}] is NaN or infinite",
            at / head.d,
            at % head.d
        );
        return Err(Failure::new(HALO_E_NONFINITE, "head.weight", message).argument(0));
    }
    // -infinity masks a word out.
    let wrong = |b: &f32| b.is_nan() || *b == f32::INFINITY;
    match head.bias.and_then(|bias| bias.iter().position(wrong)) {
        Some(at) => {
            let message = format!("head.bias[{at}] is NaN or +infinity");
            Err(Failure::new(HALO_E_NONFINITE, "head.bias", message).argument(0))
        }
        None => Ok(()),
    }
}

/// A gradient that is infinite although all that went in is finite; of `width` elements a row.
fn overflow(name: &'static str, gradient: Elements, width: usize) -> Outcome {
    let Some(at) = gradient.find_nonfinite() else {
        return Ok(());
    };
    let message = format!("{name} overflows: is stats.lse what forward gave for this head?");
    let failure = Failure::new(HALO_E_NONFINITE, name, message).argument(2);
    Err(match at.checked_div(width) {
        Some(row) => failure.example(row),
        None => failure,
    })
}

fn from_logits(
    host: &Host,
    inputs: &Inputs,
    incoming: &Incoming,
    logits: &Tensor,
    d_logits: &Tensor,
) -> Outcome {
    let (rows, targets, v) = (&inputs.rows, &inputs.targets, inputs.v);
    pool::run(|| {
        let values = inputs.logits(logits.elements(host)?);
        match values.misfit(rows, &incoming.lse)? {
            None => Ok(()),
            Some(at) => {
                let row = rows[at] as usize;
                let message = format!(
                    "row {row}: head.logits hold NaN, or numbers above stats.lse[{row}] = {}: it is not theirs",
                    incoming.lse[at]
                );
                Err(logits.refuse(HALO_E_NONFINITE, message).example(row))
            }
        }
    })?;
    pool::run(|| {
        let place = match d_logits.is(logits) {
            true => Place::Over(d_logits.places(host, &[])?),
            false => {
                let out = d_logits.places(host, &[logits])?;
                Place::Beside(logits.elements(host)?, out)
            }
        };
        let seeds = incoming.seeds();
        Ok(backward(place, v, inputs.shaping, rows, targets, seeds)?)
    })
}
