//! The default rule: rotate the completions of a scope by the smallest distance that suits everyone.
//!
//! A mismatched completion is never the example's own, a sibling's (another completion of the same prompt), or
//! identical text: each would turn the estimate of the KL into the example's own reward (TRL#1911, TRL#2554,
//! LlamaFactory#7509). KTO's author wants the set of y′ to be the set of y it is compared with (TRL#1402), so a common
//! rotation is preferred. Where none suits every row, each row takes the nearest that suits it; where the scope holds
//! none (a step of one example), it comes from elsewhere in the data.

use crate::error::Error;
use crate::records::{Dataset, Record};
use crate::rng::Rng;

/// For each row (a record index) the record whose completion its prompt meets.
///
/// A pure function: what comes from elsewhere in the data is drawn with `rng`.
///
/// # Errors
/// A row for which the whole data set holds no mismatched completion, by id.
pub fn pair(data: &Dataset, rows: &[usize], mut rng: Rng) -> Result<Vec<usize>, Error> {
    let records = &data.records;
    let suits = |i: usize, other: usize| records[rows[i]].mismatches(&records[rows[other]]);
    rotate(rows.len(), suits)
        .into_iter()
        .zip(rows)
        .map(|(met, &row)| match met {
            Some(met) => Ok(rows[met]),
            None => elsewhere(records, row, &mut rng),
        })
        .collect()
}

/// For each of `n` rows the one it meets: all at the smallest distance at which every row suits its partner, else each at the
/// nearest that suits it; None where nobody does. `suits(i, other)` is never asked of a row and itself.
pub fn rotate(n: usize, suits: impl Fn(usize, usize) -> bool) -> Vec<Option<usize>> {
    let at = |i: usize, shift: usize| {
        let other = (i + shift) % n;
        suits(i, other).then_some(other)
    };
    let mut common = (1..n).filter(|shift| (0..n).all(|i| at(i, *shift).is_some()));
    if let Some(shift) = common.next() {
        return (0..n).map(|i| at(i, shift)).collect();
    }
    (0..n)
        .map(|i| (1..n).find_map(|shift| at(i, shift)))
        .collect()
}

/// A mismatched completion from anywhere: the first that suits from a random place on.
fn elsewhere(records: &[Record], row: usize, rng: &mut Rng) -> Result<usize, Error> {
    let start = rng.below(records.len() as u64) as usize;
    let mut others = (start..records.len()).chain(0..start);
    others.find(|&other| records[row].mismatches(&records[other])).ok_or_else(|| {
        let message = format!(
            "record {:?}: the data set holds no mismatched completion for the reference point: every other completion \
             answers the same prompt or is identical",
            records[row].id
        );
        Error::data(message).at(Some(row))
    })
}

/// Makes sure, before a run, that every record has a mismatched completion somewhere.
///
/// # Errors
/// As [`pair`].
pub(crate) fn check(data: &Dataset) -> Result<(), Error> {
    // Few witnesses serve everyone: a record that neither of two mismatched records suits has the prompt of one and
    // the completion of the other, so there are at most four of them and this stays linear.
    let mut witnesses: Vec<usize> = Vec::new();
    for (index, record) in data.records.iter().enumerate() {
        if !witnesses
            .iter()
            .any(|&witness| record.mismatches(&data.records[witness]))
        {
            witnesses.push(elsewhere(&data.records, index, &mut Rng::new(0))?);
        }
    }
    Ok(())
}
