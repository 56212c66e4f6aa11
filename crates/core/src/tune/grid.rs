//! The candidates: what the loss has of β and class weights, crossed.

use halo_loss::{Loss, ParamKind, weighting};
use halo_train::Rng;
use serde::Serialize;

use super::{Options, number};
use crate::config::TrainConfig;
use crate::{Error, Result};

/// The βs of the grid, in units of the configured one.
pub const FACTORS: [f64; 4] = [0.5, 1.0, 2.0, 4.0];

/// Names of the inverse temperature: the first that a loss has is tuned.
const TEMPERATURES: [&str; 2] = ["beta", "tau"];

/// Keeps this use of the seed apart from all others.
const DRAW_STREAM: u64 = 0x6472_6177;

/// What a trial changes of the configured run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// The inverse temperature's key and value; `None` where it stays out of the search.
    pub beta: Option<(String, f64)>,
    /// The class balance that the weights are derived from; `None`: the weights as configured.
    pub class_balance: Option<f64>,
}

impl Candidate {
    /// Puts its parameters into a configuration.
    pub fn apply(&self, config: &mut TrainConfig) {
        if let Some((key, beta)) = &self.beta {
            config.loss_parameters.set(key, *beta);
        }
        if self.class_balance.is_some() {
            config.class_balance = self.class_balance;
        }
    }
}

/// The run as configured first, then the rest of the grid.
///
/// # Errors
/// A loss with nothing to tune; values that it has no parameter for, or out of range.
pub fn candidates(config: &TrainConfig, loss: &Loss, options: &Options) -> Result<Vec<Candidate>> {
    let name = loss.name();
    let temperature = TEMPERATURES
        .iter()
        .find_map(|word| Some((*word, loss.key(word), number(loss, word)?)));
    // What changes over the run has no one value to choose.
    let temperature =
        temperature.filter(|(_, key, _)| !config.loss_schedule.contains_key(key.as_str()));
    let weighted = ["desirable_weight", "undesirable_weight"]
        .iter()
        .all(|word| {
            number(loss, word).is_some() && !config.loss_schedule.contains_key(&loss.key(word))
        });
    let refuse = |argument: &str, why: String| {
        Err(Error::parameter(format!("{name}: {why}")).with_argument(argument))
    };

    let allowed = weighting::TARGETS;
    if let Some(wrong) = options
        .balances
        .iter()
        .find(|target| !allowed.contains(target))
    {
        let (low, high) = (allowed.start(), allowed.end());
        return refuse(
            "balances",
            format!("balance {wrong} is outside {low}..={high}"),
        );
    }

    let betas: Vec<Option<(String, f64)>> = match &temperature {
        None if !options.betas.is_empty() => {
            return refuse("betas", "there is no beta to choose here".into());
        }
        None => vec![None],
        Some((word, key, configured)) => {
            let own = *configured;
            let asked: Vec<f64> = match options.betas.is_empty() {
                true => FACTORS
                    .iter()
                    .map(|factor| factor * own)
                    .filter(|beta| in_range(loss, word, *beta))
                    .collect(),
                false => options.betas.clone(),
            };
            for beta in &asked {
                loss.with(key, *beta)?;
            }
            once(own, asked)
                .into_iter()
                .map(|beta| Some((key.clone(), beta)))
                .collect()
        }
    };
    let balances: Vec<Option<f64>> = match weighted {
        false => vec![None],
        true => {
            let others = options.balances.iter().copied().map(Some);
            let others = others.filter(|balance| *balance != config.class_balance);
            std::iter::once(None).chain(others).collect()
        }
    };
    let mut all = Vec::new();
    for beta in &betas {
        for balance in &balances {
            all.push(Candidate {
                beta: beta.clone(),
                class_balance: *balance,
            });
        }
    }
    if all.len() < 2 {
        let why = "nothing to tune: it has no beta to vary and no class weights, or they are scheduled; \
                   `halo losses` lists each loss's parameters";
        return refuse("loss", why.into());
    }
    if let Some(most) = options.trials {
        draw(&mut all, most, config.seed)?;
    }
    Ok(all)
}

/// The configured value first, no value twice.
fn once(own: f64, others: Vec<f64>) -> Vec<f64> {
    let mut all = vec![own];
    for other in others {
        if !all.contains(&other) {
            all.push(other);
        }
    }
    all
}

fn in_range(loss: &Loss, word: &str, value: f64) -> bool {
    let spec = loss.spec().all_params().find(|param| param.name == word);
    match spec.map(|param| param.kind) {
        Some(ParamKind::Number { range, .. }) => range.contains(value),
        // of a later term of a sum
        _ => loss.with(&loss.key(word), value).is_ok(),
    }
}

/// Keeps the first and a random few of the others, in the grid's order.
fn draw(all: &mut Vec<Candidate>, most: usize, seed: u64) -> Result<()> {
    if most < 2 {
        let message = format!("trials = {most}; allowed: 2 or more, the run as configured is one");
        return Err(Error::parameter(message).with_argument("trials"));
    }
    let mut rng = Rng::new(seed).fork(DRAW_STREAM);
    while all.len() > most {
        let index = 1 + rng.below(all.len() as u64 - 1) as usize;
        all.remove(index);
    }
    Ok(())
}
