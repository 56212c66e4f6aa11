//! Human-aware losses: exact values and gradients of KTO, DPO and the rest of the field.
//!
//! A loss here is a function of log-probabilities, a few `f64` per sequence, and of nothing else: no tensor,
//! no device, no vocabulary. Whoever trains a model gives the log-probabilities of the completions and
//! takes back the loss and its gradient with respect to each of them:
//!
//! ```
//! use halo_loss::{Label, Loss, Normalizer, Params, Row, evaluate};
//!
//! let loss = Loss::new("kto", &Params::new())?;
//! let rows = [
//!     Row { logp: -20.0, ref_logp: -22.0, label: Label::Desirable, z0: 0.3, ..Row::default() },
//!     Row { logp: -18.0, ref_logp: -17.0, label: Label::Undesirable, z0: 0.3, ..Row::default() },
//! ];
//! let result = evaluate(&loss, &rows, &Normalizer::of(&loss, &rows))?;
//! assert!((result.loss - (0.457602059226 + 0.467545693613) / 2.0).abs() < 1e-12);
//! assert!(result.dlogps[0] < 0.0 && result.dlogps[1] > 0.0);
//! # Ok::<(), halo_loss::Error>(())
//! ```
//!
//! - [`registry`] lists the losses with formula, parameters and sources; every help text is a projection of it.
//! - [`Loss`] is one of them with its parameters checked; [`evaluate`] is the only loop and the only reduction.
//! - [`Estimator`] gives KTO's reference point z₀, [`weighting`] its class weights, [`saturation`] what has
//!   stopped learning and why.
//!
//! Units: log-probabilities are sums over completion tokens in nats; a reward is always β times the
//! log-ratio. Every number is `f64` and every transcendental function is `libm`'s, so that a native
//! program, a C host and a page in a browser agree bit for bit.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod advantage;
pub mod advice;
mod blocks;
pub mod curve;
pub mod diagnosis;
pub mod dual;
mod error;
mod evaluate;
mod example;
mod loss;
mod losses;
mod mixture;
pub mod modifiers;
mod params;
mod policy_gradient;
mod readable;
pub mod reference_point;
pub mod saturation;
mod spec;

pub mod theory;
mod units;
pub mod value;
pub mod weighting;

pub use advantage::Advantage;
pub use blocks::Blocks;
pub use error::{Error, nearest};
pub use evaluate::{Evaluation, Normalizer, evaluate};
pub use example::{Batch, Label, Row, TokenColumns, Tokens};
pub use loss::Loss;
pub use losses::{find, registry};
pub use modifiers::Modifier;
pub use params::{ParamValue, Params};
pub use reference_point::{Estimator, Point, Scope, Source};
pub use saturation::Zone;
pub use spec::{COMPAT, DataShape, Need, ParamKind, ParamSpec, Preset, Range, Spec};
