//! What is kept between processes: the machine's state, and whose it is.

use halo_train::{Machine, MachineState};
use serde::{Deserialize, Serialize};

use super::run::{Trainer, unattached};
use crate::failure::{Failure, Outcome};
use crate::status::*;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    format: String,
    version: u32,
    state: MachineState,
}

const FORMAT: &str = "halo.trainer";
const VERSION: u32 = 1;

impl Trainer {
    /// # Errors
    /// No data yet.
    pub(super) fn save(&self) -> Outcome<Vec<u8>> {
        let machine = self.machine.as_ref().ok_or_else(unattached)?;
        let saved = Saved {
            format: FORMAT.into(),
            version: VERSION,
            state: machine.state(),
        };
        serde_json::to_vec(&saved)
            .map_err(|error| Failure::new(HALO_E_FORMAT, "trainer.state", error.to_string()))
    }

    /// # Errors
    /// No data yet; not a saved state; another run's.
    pub(super) fn load(&mut self, saved: &[u8]) -> Outcome {
        let refuse = |message: String| Err(Failure::new(HALO_E_FORMAT, "trainer.state", message));
        let machine = self.machine.as_ref().ok_or_else(unattached)?;
        let saved: Saved = match serde_json::from_slice(saved) {
            Ok(saved) => saved,
            Err(error) => return refuse(format!("no saved trainer: {error}")),
        };
        if saved.format != FORMAT || saved.version != VERSION {
            let (format, version) = (saved.format, saved.version);
            let message =
                format!("{format:?} version {version} is not {FORMAT:?} version {VERSION}");
            return refuse(message);
        }
        if saved.state.memory.iter().any(|number| !number.is_finite()) {
            return refuse("a remembered number is not finite".into());
        }
        let data = machine.data().clone();
        let restored =
            Machine::restore(self.plan.clone(), data, self.loss().clone(), &saved.state)?;
        self.replace(restored);
        Ok(())
    }
}
