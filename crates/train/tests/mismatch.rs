//! A mismatched completion is never the example's own, a sibling's, or identical text.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use halo_loss::Label;
use halo_train::pairing::rotate;
use halo_train::{Dataset, Record, Rng, Unit};
use proptest::prelude::*;

fn data(records: &[(u32, u32)]) -> Dataset {
    let record = |(index, &(prompt, completion)): (usize, &(u32, u32))| Record {
        id: format!("r{index}"),
        prompt: vec![prompt],
        completion: vec![completion],
        label: Label::Desirable,
        ..Record::default()
    };
    let units = (0..records.len()).map(Unit::Single).collect();
    Dataset::new(records.iter().enumerate().map(record).collect(), units).unwrap()
}

proptest! {
    #[test]
    fn every_pair_is_mismatched_or_there_is_none(
        records in prop::collection::vec((0u32..4, 0u32..4), 1..20),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 1..12),
        seed in any::<u64>(),
    ) {
        let data = data(&records);
        let mut rows: Vec<usize> = picks.iter().map(|pick| pick.index(records.len())).collect();
        rows.sort_unstable();
        rows.dedup();
        let suits = |x: usize, y: usize| records[x].0 != records[y].0 && records[x].1 != records[y].1;
        match rotate::pair(&data, &rows, Rng::new(seed)) {
            Ok(pairs) => {
                prop_assert_eq!(pairs.len(), rows.len());
                for (&x, &y) in rows.iter().zip(&pairs) {
                    prop_assert!(suits(x, y));
                    // From outside the step only where the step holds none.
                    prop_assert!(rows.contains(&y) || !rows.iter().any(|&other| suits(x, other)));
                }
                // If one rotation suits all, it is taken, and y′ are exactly the step's own completions.
                let shift = (1..rows.len()).find(|k| (0..rows.len()).all(|i| suits(rows[i], rows[(i + k) % rows.len()])));
                if let Some(shift) = shift {
                    let rotated: Vec<usize> = (0..rows.len()).map(|i| rows[(i + shift) % rows.len()]).collect();
                    prop_assert_eq!(pairs, rotated);
                }
            }
            Err(error) => {
                prop_assert!(error.is_data());
                let lonely = error.record().unwrap();
                prop_assert!((0..records.len()).all(|other| !suits(lonely, other)));
            }
        }
    }
}

#[test]
fn a_step_of_one_example_takes_its_mismatch_from_elsewhere_by_seed() {
    let data = data(&[(0, 0), (0, 1), (1, 0), (1, 1), (2, 2), (3, 3)]);
    let mut seen: Vec<usize> = (0..100)
        .map(|seed| rotate::pair(&data, &[0], Rng::new(seed)).unwrap()[0])
        .collect();
    assert_eq!(
        rotate::pair(&data, &[0], Rng::new(7)).unwrap(),
        rotate::pair(&data, &[0], Rng::new(7)).unwrap()
    );
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [3, 4, 5]);
}
