//! The immutable training data: tokenised records, and the units that a batch is counted in.

mod fingerprint;

use halo_loss::Label;

use crate::error::Error;

/// One completion of one prompt, as tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The name under which the user knows it.
    pub id: String,
    /// Context tokens; may be empty, then the completion's first token is context too.
    pub prompt: Vec<u32>,
    /// Scored tokens, end-of-sequence token included.
    pub completion: Vec<u32>,
    /// Whether the completion is wanted.
    pub label: Label,
    /// Records share a group exactly if they share their prompt. [`Dataset::new`] assigns it.
    pub group: u32,
    /// The reward or rating that the data gives, if any.
    pub score: Option<f64>,
    /// Multiplies the example's loss; of a pair the chosen record's counts.
    pub weight: f64,
    /// The example's β in units of the loss's; of a pair the chosen record's counts.
    pub beta_scale: f64,
    /// Log-probabilities of the scored tokens when the completion was sampled, nats; empty where the data gives none.
    pub old_logps: Vec<f64>,
}

impl Default for Record {
    fn default() -> Record {
        Record {
            id: String::new(),
            prompt: Vec::new(),
            completion: Vec::new(),
            label: Label::Desirable,
            group: 0,
            score: None,
            weight: 1.0,
            beta_scale: 1.0,
            old_logps: Vec::new(),
        }
    }
}

impl Record {
    /// How many tokens of the completion are scored after this prompt: all, but after an empty prompt not the first.
    pub fn scored_tokens(&self) -> u32 {
        self.scored_tokens_of(self)
    }

    /// The same for `other`'s completion after this prompt.
    pub(crate) fn scored_tokens_of(&self, other: &Record) -> u32 {
        other
            .completion
            .len()
            .saturating_sub(usize::from(self.prompt.is_empty())) as u32
    }

    /// Whether `other`'s completion is a mismatched one for this prompt: of another prompt, different text, and
    /// something to score.
    pub(crate) fn mismatches(&self, other: &Record) -> bool {
        self.group != other.group
            && self.completion != other.completion
            && self.scored_tokens_of(other) > 0
    }
}

/// What a batch is counted in, as indices into the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// One labelled record.
    Single(usize),
    /// Two completions of one prompt.
    Pair {
        /// The preferred one, labelled desirable.
        chosen: usize,
        /// The other, labelled undesirable.
        rejected: usize,
    },
}

impl Unit {
    /// The records of the unit, in the order of a loss's rows: chosen before rejected.
    pub fn records(self) -> impl Iterator<Item = usize> {
        let (first, second) = match self {
            Unit::Single(record) => (record, None),
            Unit::Pair { chosen, rejected } => (chosen, Some(rejected)),
        };
        std::iter::once(first).chain(second)
    }
}

/// All records of a run, and the order of the file.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Every record; y′ may be drawn from any of them.
    pub records: Vec<Record>,
    /// The units in the order of the file.
    pub units: Vec<Unit>,
}

impl Dataset {
    /// Checks that units and records fit together, and assigns the groups: equal prompts, equal group.
    ///
    /// # Errors
    /// No unit; a unit that names an absent record; a pair of different prompts or with the wrong labels; a record of
    /// which no token is scored; a reward, weight or log-probability that is no such number.
    pub fn new(mut records: Vec<Record>, units: Vec<Unit>) -> Result<Dataset, Error> {
        if units.is_empty() {
            return Err(Error::data("the data set holds no examples"));
        }
        if let Some(index) = records
            .iter()
            .position(|record| record.scored_tokens() == 0)
        {
            let record = &records[index];
            let why = if record.completion.is_empty() {
                "its completion is empty"
            } else {
                "its prompt is empty and its completion has one token only"
            };
            let message = format!("record {:?}: nothing of it can be scored: {why}", record.id);
            return Err(Error::data(message).at(Some(index)));
        }
        for (index, record) in records.iter().enumerate() {
            check_numbers(record).map_err(|error| error.at(Some(index)))?;
        }
        for (number, unit) in units.iter().enumerate() {
            check(number, *unit, &records)?;
        }
        assign_groups(&mut records);
        Ok(Dataset { records, units })
    }
}

fn check_numbers(record: &Record) -> Result<(), Error> {
    let refuse = |what: String| Err(Error::data(format!("record {:?}: {what}", record.id)));
    let (score, wanted) = (record.score.unwrap_or_default(), record.scored_tokens());
    if !score.is_finite() {
        return refuse(format!("its score {score} is not finite"));
    }
    if !(record.weight >= 0.0 && record.weight.is_finite()) {
        return refuse(format!("its weight {} is outside 0..", record.weight));
    }
    if !(record.beta_scale > 0.0 && record.beta_scale.is_finite()) {
        let beta_scale = record.beta_scale;
        return refuse(format!(
            "its beta_scale {beta_scale} is outside 0 (exclusive).."
        ));
    }
    let count = record.old_logps.len();
    if count > 0 && count != wanted as usize {
        return refuse(format!("{count} old_logps for {wanted} scored tokens"));
    }
    match record.old_logps.iter().find(|logp| !logp.is_finite()) {
        Some(logp) => refuse(format!("an old_logp is {logp}, which is not finite")),
        None => Ok(()),
    }
}

fn check(number: usize, unit: Unit, records: &[Record]) -> Result<(), Error> {
    if let Some(absent) = unit.records().find(|&record| record >= records.len()) {
        let message = format!(
            "unit {number} names record {absent}; there are {}",
            records.len()
        );
        return Err(Error::data(message));
    }
    if let Unit::Pair { chosen, rejected } = unit {
        let (better, worse) = (&records[chosen], &records[rejected]);
        if better.prompt != worse.prompt {
            let message = format!("pair {:?}, {:?}: the prompts differ", better.id, worse.id);
            return Err(Error::data(message).at(Some(chosen)));
        }
        if (better.label, worse.label) != (Label::Desirable, Label::Undesirable) {
            let message = format!(
                "pair {:?}, {:?}: the chosen record must be labelled desirable, the rejected one undesirable",
                better.id, worse.id
            );
            return Err(Error::data(message).at(Some(chosen)));
        }
    }
    Ok(())
}

/// Numbers the distinct prompts by first appearance.
fn assign_groups(records: &mut [Record]) {
    let mut order: Vec<usize> = (0..records.len()).collect();
    order.sort_by(|&a, &b| records[a].prompt.cmp(&records[b].prompt).then(a.cmp(&b)));
    // The first of each run of equal prompts is its earliest record.
    let mut earliest = vec![0; records.len()];
    for run in order.chunk_by(|&a, &b| records[a].prompt == records[b].prompt) {
        run.iter().for_each(|&record| earliest[record] = run[0]);
    }
    let mut groups = 0;
    for record in 0..records.len() {
        if earliest[record] == record {
            records[record].group = groups;
            groups += 1;
        } else {
            records[record].group = records[earliest[record]].group;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, prompt: &[u32], completion: &[u32], label: Label) -> Record {
        Record {
            id: id.into(),
            prompt: prompt.into(),
            completion: completion.into(),
            label,
            group: 9,
            ..Record::default()
        }
    }

    fn singles(records: Vec<Record>) -> Result<Dataset, Error> {
        let units = (0..records.len()).map(Unit::Single).collect();
        Dataset::new(records, units)
    }

    #[test]
    fn equal_prompts_share_a_group_and_different_ones_do_not() {
        let prompts: [&[u32]; 5] = [&[3, 1], &[2], &[3, 1], &[3], &[2]];
        let records = prompts
            .map(|prompt| record("", prompt, &[1], Label::Desirable))
            .to_vec();
        let groups: Vec<u32> = singles(records)
            .unwrap()
            .records
            .iter()
            .map(|r| r.group)
            .collect();
        assert_eq!(groups, [0, 1, 0, 2, 1]);
    }

    #[test]
    fn what_cannot_be_scored_is_refused_by_id() {
        let good = record("good", &[1], &[1], Label::Desirable);
        for (bad, why) in [
            (
                record("bad", &[1], &[], Label::Desirable),
                "its completion is empty",
            ),
            (record("bad", &[], &[1], Label::Desirable), "one token only"),
        ] {
            let error = singles(vec![good.clone(), bad]).unwrap_err();
            assert!(error.is_data() && error.record() == Some(1));
            let text = error.to_string();
            assert!(text.contains("\"bad\"") && text.contains(why), "{text}");
        }
        assert!(singles(vec![]).unwrap_err().is_data());
    }

    #[test]
    fn a_pair_needs_one_prompt_and_both_labels() {
        let chosen = record("w", &[1], &[1], Label::Desirable);
        let rejected = record("l", &[1], &[2], Label::Undesirable);
        let pair = |a: &Record, b: &Record| {
            Dataset::new(
                vec![a.clone(), b.clone()],
                vec![Unit::Pair {
                    chosen: 0,
                    rejected: 1,
                }],
            )
        };
        assert!(pair(&chosen, &rejected).is_ok());
        assert!(
            pair(&rejected, &chosen)
                .unwrap_err()
                .to_string()
                .contains("labelled")
        );
        let elsewhere = Record {
            prompt: vec![2],
            ..rejected.clone()
        };
        assert!(
            pair(&chosen, &elsewhere)
                .unwrap_err()
                .to_string()
                .contains("prompts differ")
        );
        assert!(
            Dataset::new(vec![chosen], vec![Unit::Single(1)])
                .unwrap_err()
                .to_string()
                .contains("record 1")
        );
    }
}
