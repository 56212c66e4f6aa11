//! An estimator with its memory: what it observes of a batch, what is saved of it.

use std::ffi::c_char;

use ::halo_loss::{Estimator, Loss, Point, Source};
use serde::{Deserialize, Serialize};

use crate::batch::{Columns, Picked, Role};
use crate::failure::{Failure, Outcome};
use crate::intake::Host;
use crate::settings::read;
use crate::status::*;

/// An estimator at work.
pub(crate) struct RefPoint {
    pub(super) estimator: Estimator,
    /// Whose modifiers act on what is observed.
    pub(super) loss: Option<Loss>,
    /// Of completed steps.
    pub(super) memory: Vec<f64>,
    /// What the last finish was given and gave.
    pub(super) last: Option<(Vec<f64>, Point)>,
}

/// Settings of an estimator that stands for itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Settings {
    pub(super) length_average: bool,
    pub(super) clamp: Option<bool>,
    pub(super) decay: f64,
    pub(super) window: f64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            length_average: false,
            clamp: None,
            decay: ::halo_loss::reference_point::DECAY,
            window: ::halo_loss::reference_point::WINDOW,
        }
    }
}

/// What is kept between processes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    format: String,
    version: u32,
    name: String,
    memory: Vec<f64>,
}

const FORMAT: &str = "halo.refpoint";
const VERSION: u32 = 1;

impl RefPoint {
    pub(super) fn new(estimator: Estimator, loss: Option<Loss>) -> RefPoint {
        RefPoint {
            estimator,
            loss,
            memory: Vec::new(),
            last: None,
        }
    }

    /// # Errors
    /// None that is known: numbers and a name always have a text.
    pub(super) fn save(&self) -> Outcome<Vec<u8>> {
        let saved = Saved {
            format: FORMAT.into(),
            version: VERSION,
            name: self.estimator.name().into(),
            memory: self.memory.clone(),
        };
        serde_json::to_vec(&saved)
            .map_err(|error| Failure::new(HALO_E_FORMAT, "refpoint", error.to_string()))
    }

    /// The rows that the estimator reads, and what it sees of each.
    pub(super) fn observe(&self, columns: &Columns, width: usize) -> Outcome<(Picked, Vec<f64>)> {
        let role = match self.estimator.source() {
            Source::Mismatched => Role::Mismatch,
            Source::Matched => Role::Scored,
            Source::None => return Ok((columns.rows(Role::Mismatch, false), Vec::new())),
        };
        let groups = self.fits(width, 3)?;
        let per_token = match &self.loss {
            Some(loss) => loss.per_token() || self.estimator.per_token(),
            None => self.estimator.per_token(),
        };
        let mut rows = columns.rows(role, per_token);
        columns.groups(&mut rows, groups)?;
        if let Some(row) = rows
            .rows
            .iter()
            .position(|row| !(row.logp - row.ref_logp).is_finite())
        {
            let message = format!("row {}: logp or ref_logp is not finite", rows.source[row]);
            let failure = columns.refuse("batch.logp", HALO_E_NONFINITE, message);
            return Err(failure.example(rows.source[row]));
        }
        let observed = match &self.loss {
            Some(loss) => loss
                .observe(rows.batch())
                .map_err(|error| Failure::from(error).argument(1))?,
            None if per_token && rows.tokens.ref_logps.len() != rows.tokens.logps.len() => {
                let message = "this estimator reads token_logp and token_ref_logp; one is NULL";
                let code = HALO_E_INVALID_ARGUMENT;
                return Err(columns.refuse("batch.token_logp", code, message.into()));
            }
            None => self.estimator.observe(&rows.batch()),
        };
        Ok((rows, observed))
    }

    /// Of how many groups sums of this width are; none where the estimator does not look at groups.
    ///
    /// # Errors
    /// A width that no number of groups has.
    pub(super) fn fits(&self, width: usize, argument: usize) -> Outcome<Option<usize>> {
        let fixed = self.estimator.sums(0).len();
        let per_group = self.estimator.sums(1).len() - fixed;
        match per_group {
            0 if width == fixed => return Ok(None),
            1.. if width >= fixed && (width - fixed).is_multiple_of(per_group) => {
                return Ok(Some((width - fixed) / per_group));
            }
            _ => {}
        }
        let message = format!(
            "width = {width} is not what halo_refpoint_width says, {fixed} and {per_group} for each group"
        );
        Err(Failure::new(HALO_E_SHAPE, "width", message).argument(argument))
    }
}

/// # Errors
/// An unknown key, a value out of range.
pub(super) fn settings(host: &Host, argument: usize, json: *const c_char) -> Outcome<Settings> {
    let settings: Settings = read(host, argument, "params_json", json)?;
    let refuse = |code, message| Err(Failure::new(code, "params_json", message).argument(argument));
    if !(0.0..1.0).contains(&settings.decay) {
        let message = format!("decay = {} is outside 0..1 (exclusive)", settings.decay);
        return refuse(HALO_E_INVALID_ARGUMENT, message);
    }
    if !(settings.window >= 1.0 && settings.window <= f64::from(u32::MAX)) {
        let message = format!("window = {} is outside 1..=2^32 - 1", settings.window);
        return refuse(HALO_E_INVALID_ARGUMENT, message);
    }
    Ok(settings)
}

/// What [`RefPoint::save`] kept.
///
/// # Errors
/// Not such a state, or another estimator's.
pub(super) fn saved(text: &[u8], name: &str) -> Outcome<Vec<f64>> {
    let refuse = |code, message| Err(Failure::new(code, "data", message));
    match serde_json::from_slice::<Saved>(text) {
        Err(error) => refuse(HALO_E_FORMAT, format!("no saved reference point: {error}")),
        Ok(saved) if saved.format != FORMAT || saved.version != VERSION => refuse(
            HALO_E_FORMAT,
            format!(
                "{:?} version {} is not {FORMAT:?} version {VERSION}",
                saved.format, saved.version
            ),
        ),
        Ok(saved) if saved.name != name => refuse(
            HALO_E_STATE,
            format!(
                "the state is of the reference point {:?}, this one is {name:?}",
                saved.name
            ),
        ),
        Ok(saved) if saved.memory.iter().any(|number| !number.is_finite()) => {
            refuse(HALO_E_NONFINITE, "a remembered number is not finite".into())
        }
        Ok(saved) => Ok(saved.memory),
    }
}
