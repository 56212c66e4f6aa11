//! Whether judgements agree: copies, contradictions, and how wrong labels must be at least.

use alloc::collections::{BTreeMap, BTreeSet};

use super::{Judged, Pair, Share};
use crate::example::Label;

/// Judgements that say again what another one says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Duplicates {
    /// Singly judged rows with prompt, completion and label of an earlier one.
    pub rows: u64,
    /// Pairs with the chosen and the rejected of an earlier one.
    pub pairs: u64,
}

/// Judgements that exclude each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Contradictions {
    /// Completions that were judged for themselves with both labels.
    pub completions: u64,
    /// Two completions that were ordered both ways.
    pub reversed: u64,
    /// Pairs that prefer a completion to itself.
    pub identical: u64,
    /// Completions with both labels over all rows: where pairs are taken apart, also the middle of an order a ≻ b ≻ c.
    pub both_labels: u64,
}

/// How wrong labels are at least.
///
/// Whatever the truth about a thing that was judged n times, the smaller of its two counts of judgements is wrong. Their sum
/// over all things judged twice or more is at least this many wrong labels, and no more can be proven: judges who err
/// together, and copies of one judgement, agree. Wilson's intervals take the judgements as independent.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Noise {
    /// Wrong judgements at least, of those that were repeated: a bound for all data only where the repeated are like the rest.
    pub of_repeated: Share,
    /// The same of all judgements, those never repeated taken as right: a bound for all data whatever was repeated.
    pub of_all: Share,
    /// Things judged more than once: completions for themselves, or two completions against each other.
    pub repeated: u64,
    /// Those of them whose judgements all agree.
    pub agreeing: u64,
}

impl Noise {
    /// Whether the repeated can be like the rest. Errors at any rate ε make two judgements differ with probability
    /// 2ε(1 − ε) ≤ ½; where more things are contradicted than not, repeats were kept because they contradict.
    pub fn representative(&self) -> bool {
        2 * self.agreeing >= self.repeated
    }
}

/// How often each thing was judged, one way and the other.
pub(super) struct Repeated {
    /// Per (prompt, completion): desirable, undesirable.
    singles: BTreeMap<(u64, u64), [u64; 2]>,
    /// Per (prompt, lower id, higher id): lower preferred, higher preferred.
    pairs: BTreeMap<(u64, u64, u64), [u64; 2]>,
    identical: u64,
}

impl Repeated {
    pub(super) fn new(singles: &[&Judged], pairs: &[Pair]) -> Repeated {
        let mut all = Repeated {
            singles: BTreeMap::new(),
            pairs: BTreeMap::new(),
            identical: 0,
        };
        for row in singles {
            let side = usize::from(row.label == Label::Undesirable);
            all.singles.entry(row.answer()).or_default()[side] += 1;
        }
        for (chosen, rejected) in pairs {
            let (w, l) = (chosen.completion, rejected.completion);
            if w == l {
                all.identical += 1;
                continue;
            }
            let (low, high) = if w < l { (w, l) } else { (l, w) };
            let counts = all.pairs.entry((chosen.prompt, low, high)).or_default();
            counts[usize::from(w == high)] += 1;
        }
        all
    }

    pub(super) fn duplicates(&self) -> Duplicates {
        let beyond = |[one, other]: &[u64; 2]| one.saturating_sub(1) + other.saturating_sub(1);
        Duplicates {
            rows: self.singles.values().map(beyond).sum(),
            pairs: self.pairs.values().map(beyond).sum(),
        }
    }

    pub(super) fn contradictions(&self, rows: &[Judged]) -> Contradictions {
        let both = |[one, other]: &&[u64; 2]| *one > 0 && *other > 0;
        let answers = |label| -> BTreeSet<(u64, u64)> {
            let of_label = rows.iter().filter(|row| row.label == label);
            of_label.map(Judged::answer).collect()
        };
        let (good, bad) = (answers(Label::Desirable), answers(Label::Undesirable));
        Contradictions {
            completions: self.singles.values().filter(both).count() as u64,
            reversed: self.pairs.values().filter(both).count() as u64,
            identical: self.identical,
            both_labels: good.intersection(&bad).count() as u64,
        }
    }

    pub(super) fn noise(&self) -> Option<Noise> {
        let (mut wrong, mut judged, mut all) = (0, 0, 0);
        let (mut repeated, mut agreeing) = (0, 0);
        for [one, other] in self.singles.values().chain(self.pairs.values()) {
            all += one + other;
            if one + other > 1 {
                let fewer = if one < other { one } else { other };
                wrong += fewer;
                judged += one + other;
                repeated += 1;
                agreeing += u64::from(*fewer == 0);
            }
        }
        Some(Noise {
            of_repeated: Share::new(wrong, judged)?,
            of_all: Share::new(wrong, all)?,
            repeated,
            agreeing,
        })
    }
}
