//! The host's answer, checked against what was asked.

use std::ffi::c_void;

use halo_train::{Answer, Ask, TokenAnswer, Work};

use super::hand::Hand;
use super::work::halo_answer;
use crate::batch::{HALO_F32, HALO_F64};
use crate::failure::{Failure, Outcome};
use crate::intake::Host;
use crate::status::*;

/// # Errors
/// Nothing was asked, or something else; another count; a number that is not finite, with its row.
pub(super) fn read(host: &Host, answer: &halo_answer, awaited: Option<&Hand>) -> Outcome<Answer> {
    let refuse = |code, site: &str, message: String| Err(Failure::new(code, site, message));
    let Some(hand) = awaited else {
        let message = "nothing is awaited: call halo_trainer_next first".into();
        return refuse(HALO_E_STATE, "answer.work_id", message);
    };
    if answer.work_id != hand.id {
        let message = format!(
            "work_id = {}, but work {} is awaited",
            answer.work_id, hand.id
        );
        return refuse(HALO_E_STATE, "answer.work_id", message);
    }
    let code = answer.host_code;
    if code != 0 && !matches!(hand.work, Work::Done) {
        return Ok(Answer::Failed { code });
    }
    let values = |name| column(host, answer, name, hand);
    match &hand.work {
        Work::Forward { ask, .. } => {
            let logps = values("answer.values")?;
            Ok(match ask {
                Ask::Sums | Ask::Scores => Answer::Logps(logps),
                Ask::Tokens { collisions } => Answer::Tokens(TokenAnswer {
                    logps,
                    log_collisions: match collisions {
                        true => values("answer.log_collisions")?,
                        false => Vec::new(),
                    },
                }),
            })
        }
        Work::Reduce { .. } => Ok(Answer::Reduced(values("answer.values")?)),
        Work::OptimizerStep { .. } => match answer.grad_norm {
            norm if norm.is_finite() => Ok(Answer::Stepped { grad_norm: norm }),
            norm => {
                let message = format!("grad_norm = {norm} is not finite");
                refuse(HALO_E_NONFINITE, "answer.grad_norm", message)
            }
        },
        Work::Done => {
            let message = "the run is over: nothing is to be answered".into();
            refuse(HALO_E_STATE, "answer.work_id", message)
        }
        _ => Ok(Answer::Finished),
    }
}

/// As many numbers as are awaited.
fn column(host: &Host, answer: &halo_answer, name: &'static str, hand: &Hand) -> Outcome<Vec<f64>> {
    let refuse = |code, site: &str, message: String| Err(Failure::new(code, site, message));
    let (count, wanted) = (answer.value_count, hand.awaited());
    if count != wanted {
        let message = format!("value_count = {count}, but {wanted} are awaited");
        return refuse(HALO_E_SHAPE, "answer.value_count", message);
    }
    let start: *const c_void = match name {
        "answer.values" => answer.values,
        _ => answer.log_collisions,
    };
    let numbers: Vec<f64> = match answer.dtype {
        HALO_F64 => host.slice(1, name, start.cast::<f64>(), count)?.to_vec(),
        HALO_F32 => {
            let narrow = host.slice(1, name, start.cast::<f32>(), count)?;
            narrow.iter().map(|number| f64::from(*number)).collect()
        }
        0 => {
            let message = "dtype = 0: say HALO_F32 or HALO_F64".into();
            return refuse(HALO_E_DTYPE, "answer.dtype", message);
        }
        dtype => {
            let message = format!("dtype = {dtype} is neither HALO_F32 nor HALO_F64");
            return refuse(HALO_E_UNSUPPORTED, "answer.dtype", message);
        }
    };
    let Some(at) = numbers.iter().position(|number| !number.is_finite()) else {
        return Ok(numbers);
    };
    let message = format!("{name}[{at}] = {} is not finite", numbers[at]);
    let failure = Failure::new(HALO_E_NONFINITE, name, message);
    Err(match (&hand.work, &hand.rows) {
        (
            Work::Forward {
                ask: Ask::Tokens { .. },
                ..
            },
            Some(rows),
        ) => failure.example(rows.row_of(at)),
        (Work::Forward { .. }, _) => failure.example(at),
        _ => failure,
    })
}
