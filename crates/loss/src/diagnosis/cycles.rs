//! Preferences that go round in circles: a ≻ b ≻ c ≻ a.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::Pair;

/// Prompts whose preferences fit no order.
///
/// Two completions that were ordered both ways count by their majority, and not at all where it is even: what remains has a
/// cycle only if at least three completions make it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Cycles {
    /// Prompts with a cycle.
    pub prompts: u64,
    /// Prompts with three or more comparisons between different completions: only there a cycle could be seen.
    pub testable: u64,
    /// The lowest id of a prompt with a cycle, to look at.
    pub example: Option<u64>,
}

pub(super) fn find(pairs: &[Pair]) -> Cycles {
    // per prompt: how much oftener the lower id was preferred
    let mut balance: BTreeMap<u64, BTreeMap<(u64, u64), i64>> = BTreeMap::new();
    for (chosen, rejected) in pairs {
        let (w, l) = (chosen.completion, rejected.completion);
        if w != l {
            let (edge, sign) = if w < l { ((w, l), 1) } else { ((l, w), -1) };
            let of_prompt = balance.entry(chosen.prompt).or_default();
            *of_prompt.entry(edge).or_default() += sign;
        }
    }
    let mut cycles = Cycles::default();
    for (prompt, edges) in &balance {
        if edges.len() < 3 {
            continue;
        }
        cycles.testable += 1;
        let directed = edges.iter().filter(|(_, balance)| **balance != 0);
        let directed = directed.map(|((low, high), balance)| match *balance > 0 {
            true => (*low, *high),
            false => (*high, *low),
        });
        if cyclic(&directed.collect::<Vec<_>>()) {
            cycles.prompts += 1;
            cycles.example = cycles.example.or(Some(*prompt));
        }
    }
    cycles
}

/// Whether a directed graph has a cycle: takes away what nothing beats until all is gone, or nothing more can go. Between two
/// nodes there is one edge at most, so a cycle is a strongly connected component of three nodes or more.
fn cyclic(edges: &[(u64, u64)]) -> bool {
    let mut beaten: BTreeMap<u64, u64> = BTreeMap::new();
    let mut beats: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for &(w, l) in edges {
        beaten.entry(w).or_default();
        *beaten.entry(l).or_default() += 1;
        beats.entry(w).or_default().push(l);
    }
    let unbeaten = beaten.iter().filter(|(_, n)| **n == 0);
    let mut free: BTreeSet<u64> = unbeaten.map(|(node, _)| *node).collect();
    let mut gone = 0;
    while let Some(node) = free.pop_first() {
        gone += 1;
        for next in beats.get(&node).into_iter().flatten() {
            if let Some(n) = beaten.get_mut(next) {
                *n -= 1;
                if *n == 0 {
                    free.insert(*next);
                }
            }
        }
    }
    gone < beaten.len()
}
