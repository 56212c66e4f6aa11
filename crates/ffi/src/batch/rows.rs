//! From columns to the rows of a loss: in its order, with what it needs, and with the way back.

use std::collections::HashMap;
use std::ops::Range;

use halo_loss::{Advantage, Batch, DataShape, Label, Loss, Need, Normalizer, Row, TokenColumns};

use super::columns::{Columns, Numbers};
use super::{HALO_ROLE_MISMATCH, HALO_ROLE_SCORED};
use crate::failure::Outcome;
use crate::status::*;

/// Which rows are meant.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Role {
    Scored,
    Mismatch,
}

/// Rows in the order of a loss.
pub(crate) struct Picked {
    pub(crate) rows: Vec<Row>,
    pub(crate) tokens: TokenColumns,
    /// The host's row of each.
    pub(crate) source: Vec<usize>,
    /// The host's tokens of each that count; empty without token columns.
    pub(crate) token_source: Vec<usize>,
}

impl Picked {
    pub(crate) fn batch(&self) -> Batch<'_> {
        Batch {
            rows: &self.rows,
            tokens: self.tokens.view(),
        }
    }
}

impl Columns<'_> {
    /// The scored rows as a loss reads them: pairs in turn, advantages made of rewards.
    ///
    /// # Errors
    /// A column that the loss needs and that is not there; a group that is no pair.
    pub(crate) fn scored(&self, loss: &Loss) -> Outcome<Picked> {
        self.require(loss)?;
        let source = self.of_role(Role::Scored);
        let source = match loss.data_shape() {
            DataShape::Paired => self.pairs(source)?,
            _ => source,
        };
        let mut picked = self.pick(source, loss.needs(Need::TokenLogps));
        if let (Some(advantage), None) = (loss.advantage(), &self.advantage) {
            self.advantages(advantage, &mut picked);
        }
        Ok(picked)
    }

    /// The rows of one role in the host's order; `per_token` with their tokens.
    pub(crate) fn rows(&self, role: Role, per_token: bool) -> Picked {
        self.pick(self.of_role(role), per_token)
    }

    /// The counts of all rows, scored every one.
    pub(crate) fn counts(&self, loss: &Loss) -> Normalizer {
        let mut counts = Normalizer {
            units: (self.batch.rows / loss.rows_per_unit()) as f64,
            ..Normalizer::default()
        };
        if self.tokens.is_some() || self.offsets.is_some() {
            for row in 0..self.batch.rows {
                let tokens = f64::from(self.token_count(row));
                counts.tokens += tokens;
                if self.label(row) == Label::Desirable {
                    counts.desirable_tokens += tokens;
                }
            }
        }
        counts
    }

    /// What the sums of a step are divided by: what the host says, or what is `here`.
    ///
    /// # Errors
    /// A count that is negative or no number.
    pub(crate) fn normalizer(&self, here: impl FnOnce() -> Normalizer) -> Outcome<Normalizer> {
        let batch = &self.batch;
        let given = [
            ("batch.global_count", batch.global_count),
            ("batch.global_tokens", batch.global_tokens),
            (
                "batch.global_desirable_tokens",
                batch.global_desirable_tokens,
            ),
        ];
        if let Some((site, count)) = given
            .iter()
            .find(|(_, count)| !(*count >= 0.0 && count.is_finite()))
        {
            let message = format!("{site} = {count} is no count");
            return Err(self.refuse(site, HALO_E_INVALID_ARGUMENT, message));
        }
        let [units, tokens, desirable_tokens] = given.map(|(_, count)| count);
        let given = Normalizer {
            units,
            tokens,
            desirable_tokens,
        };
        if units > 0.0 && tokens > 0.0 && desirable_tokens > 0.0 {
            return Ok(given);
        }
        let here = here();
        let or = |given: f64, here: f64| if given > 0.0 { given } else { here };
        Ok(Normalizer {
            units: or(units, here.units),
            tokens: or(tokens, here.tokens),
            desirable_tokens: or(desirable_tokens, here.desirable_tokens),
        })
    }

    /// # Errors
    /// A column that the loss needs and that is NULL.
    pub(crate) fn require(&self, loss: &Loss) -> Outcome {
        let judged = matches!(loss.data_shape(), DataShape::Unpaired | DataShape::Paired);
        let sums = |column: &Option<Numbers>, tokens: &Option<Numbers>| {
            column.is_some() || tokens.is_some()
        };
        let per_token = loss.needs(Need::TokenLogps);
        let (reference, old) = (loss.needs(Need::Reference), loss.needs(Need::OldLogps));
        let advantage = match loss.advantage() {
            Some(Advantage::Sign) => self.label.is_some() || self.advantage.is_some(),
            Some(Advantage::Score) => self.reward.is_some() || self.advantage.is_some(),
            _ => self.advantage.is_some() || (self.reward.is_some() && self.group.is_some()),
        };
        let columns = [
            ("label", judged, self.label.is_some()),
            ("logp", true, sums(&self.logp, &self.token_logp)),
            (
                "ref_logp",
                reference,
                sums(&self.ref_logp, &self.token_ref_logp),
            ),
            ("old_logp", old, sums(&self.old_logp, &self.token_old_logp)),
            (
                "tokens",
                loss.needs(Need::Lengths),
                self.tokens.is_some() || self.offsets.is_some(),
            ),
            (
                "advantage (or reward and group)",
                loss.needs(Need::Advantages),
                advantage,
            ),
            ("token_logp", per_token, self.token_logp.is_some()),
            (
                "token_ref_logp",
                per_token && reference,
                self.token_ref_logp.is_some(),
            ),
            (
                "token_old_logp",
                per_token && old,
                self.token_old_logp.is_some(),
            ),
            (
                "token_log_collision",
                loss.needs(Need::VocabStats),
                self.token_log_collision.is_some(),
            ),
        ];
        match columns.iter().find(|(_, needed, there)| *needed && !there) {
            Some((column, ..)) if self.batch.rows > 0 => {
                let site = format!("batch.{}", column.split(' ').next().unwrap_or(column));
                let message = format!("{} needs the column {column}, which is NULL", loss.name());
                Err(self.refuse(&site, HALO_E_INVALID_ARGUMENT, message))
            }
            _ => Ok(()),
        }
    }

    fn of_role(&self, role: Role) -> Vec<usize> {
        let wanted = match role {
            Role::Scored => HALO_ROLE_SCORED,
            Role::Mismatch => HALO_ROLE_MISMATCH,
        };
        match self.role {
            Some(roles) => (0..self.batch.rows)
                .filter(|row| roles[*row] == wanted)
                .collect(),
            None if role == Role::Scored => (0..self.batch.rows).collect(),
            None => Vec::new(),
        }
    }

    /// Chosen, rejected, chosen, rejected, …, pairs in the order of their first rows.
    fn pairs(&self, source: Vec<usize>) -> Outcome<Vec<usize>> {
        let label = |row: usize| self.label.map_or(1, |labels| labels[row]);
        let Some(groups) = self.group else {
            return Ok(source);
        };
        let mut seen: HashMap<u64, [Option<usize>; 2]> = HashMap::new();
        let mut order = Vec::new();
        for row in source {
            let members = seen.entry(groups[row]).or_insert_with(|| {
                order.push(groups[row]);
                [None; 2]
            });
            let place = &mut members[usize::from(label(row) == -1)];
            if place.replace(row).is_some() {
                let message = format!(
                    "row {row}: group {} has more than one row labelled {:+}",
                    groups[row],
                    label(row)
                );
                return Err(self
                    .refuse("batch.group", HALO_E_DATA, message)
                    .example(row));
            }
        }
        let mut paired = Vec::with_capacity(2 * order.len());
        for group in order {
            match seen[&group] {
                [Some(chosen), Some(rejected)] => paired.extend([chosen, rejected]),
                [row, other] => {
                    let row = row.or(other).unwrap_or_default();
                    let message = format!(
                        "row {row}: group {group} has no row labelled {:+}: a pair needs both",
                        -label(row)
                    );
                    return Err(self
                        .refuse("batch.group", HALO_E_DATA, message)
                        .example(row));
                }
            }
        }
        Ok(paired)
    }

    fn pick(&self, source: Vec<usize>, per_token: bool) -> Picked {
        let mut tokens = TokenColumns::default();
        let mut token_source = Vec::new();
        if per_token {
            for &row in &source {
                token_source.extend(self.counted(row));
            }
            let gather = |column: &Option<Numbers>| match column {
                Some(column) => token_source.iter().map(|&at| column.get(at)).collect(),
                None => Vec::new(),
            };
            tokens = TokenColumns {
                logps: gather(&self.token_logp),
                ref_logps: gather(&self.token_ref_logp),
                old_logps: gather(&self.token_old_logp),
                log_collisions: gather(&self.token_log_collision),
            };
        }
        let rows = source.iter().map(|&row| self.row(row)).collect();
        Picked {
            rows,
            tokens,
            source,
            token_source,
        }
    }

    /// One row; what is absent stays as the loss's default has it.
    #[inline]
    pub(crate) fn row(&self, at: usize) -> Row {
        let number = |column: &Option<Numbers>, otherwise: f64| {
            column.as_ref().map_or(otherwise, |column| column.get(at))
        };
        let sum = |column: &Option<Numbers>, tokens: &Option<Numbers>| match (column, tokens) {
            (Some(column), _) => column.get(at),
            (None, Some(tokens)) => self.counted(at).map(|token| tokens.get(token)).sum(),
            (None, None) => 0.0,
        };
        Row {
            logp: sum(&self.logp, &self.token_logp),
            ref_logp: sum(&self.ref_logp, &self.token_ref_logp),
            old_logp: sum(&self.old_logp, &self.token_old_logp),
            tokens: self.token_count(at),
            label: self.label(at),
            group: 0,
            score: number(&self.reward, 0.0),
            advantage: number(&self.advantage, 0.0),
            weight: number(&self.weight, 1.0),
            beta_scale: number(&self.beta_scale, 1.0),
            z0: self
                .refpoint
                .map_or(self.batch.common_refpoint, |points| points[at]),
        }
    }

    fn token_count(&self, row: usize) -> u32 {
        match (self.tokens, self.offsets) {
            (_, Some(_)) => self.counted(row).count() as u32,
            (Some(tokens), None) => tokens[row] as u32,
            (None, None) => 0,
        }
    }

    fn label(&self, row: usize) -> Label {
        match self.label {
            Some(labels) if labels[row] == -1 => Label::Undesirable,
            _ => Label::Desirable,
        }
    }

    /// The tokens of a row that count.
    pub(crate) fn counted(&self, row: usize) -> impl Iterator<Item = usize> + '_ {
        let span: Range<usize> = match self.offsets {
            Some(offsets) => offsets[row] as usize..offsets[row + 1] as usize,
            None => 0..0,
        };
        span.filter(|token| self.mask.is_none_or(|mask| mask[*token] != 0))
    }

    /// Numbers the rows' groups as the host does, from 1 to `count`: what sums per group are indexed by. Where nothing is summed
    /// per group, all rows are of one.
    ///
    /// # Errors
    /// A group that is 0 or beyond `count`.
    pub(crate) fn groups(&self, picked: &mut Picked, count: Option<usize>) -> Outcome {
        let Some(count) = count else {
            return Ok(());
        };
        for (row, &at) in picked.rows.iter_mut().zip(&picked.source) {
            let group = self.group.map_or(0, |groups| groups[at]);
            if group == 0 || group > count as u64 {
                let message = format!("row {at}: group {group} is outside 1..={count}");
                let code = HALO_E_INVALID_ARGUMENT;
                return Err(self.refuse("batch.group", code, message).example(at));
            }
            row.group = (group - 1) as u32;
        }
        Ok(())
    }

    /// Advantages from rewards, group by group.
    fn advantages(&self, advantage: Advantage, picked: &mut Picked) {
        let mut seen = HashMap::new();
        for (row, &at) in picked.rows.iter_mut().zip(&picked.source) {
            let next = seen.len() as u32;
            row.group = match self.group {
                Some(groups) => *seen.entry(groups[at]).or_insert(next),
                None => 0,
            };
        }
        halo_loss::advantage::assign(advantage, &mut picked.rows);
    }
}
