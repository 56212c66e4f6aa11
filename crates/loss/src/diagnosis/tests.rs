use std::string::ToString;
use std::vec::Vec;

use super::*;
use Label::{Desirable, Undesirable};

fn single(prompt: u64, completion: u64, label: Label) -> Judged {
    Judged {
        prompt,
        completion,
        label,
        tokens: 10,
        pair: None,
        truncated: false,
    }
}

fn pair(
    index: u32,
    prompt: u64,
    (w, tokens_w): (u64, u32),
    (l, tokens_l): (u64, u32),
) -> [Judged; 2] {
    let half = |completion, label, tokens| Judged {
        tokens,
        pair: Some(index),
        ..single(prompt, completion, label)
    };
    [half(w, Desirable, tokens_w), half(l, Undesirable, tokens_l)]
}

fn preferences(edges: &[(u64, u64)]) -> Vec<Judged> {
    let pairs = (0..).zip(edges);
    pairs
        .flat_map(|(i, (w, l))| pair(i, 7, (*w, 10), (*l, 10)))
        .collect()
}

#[test]
fn nothing_is_a_data_set_too() {
    let nothing = diagnose(&[]).unwrap();
    assert_eq!(nothing.counts, Counts::default());
    assert_eq!((nothing.noise, nothing.lengths.correlation), (None, None));
}

#[test]
fn counts_are_of_rows_prompts_completions_and_pairs() {
    let mut rows = pair(0, 1, (1, 20), (2, 10)).to_vec();
    rows.extend([
        single(2, 3, Desirable),
        single(2, 4, Undesirable),
        single(3, 3, Desirable),
    ]);
    rows[1].truncated = true;
    let counts = diagnose(&rows).unwrap().counts;
    assert_eq!((counts.rows, counts.prompts, counts.completions), (5, 3, 5));
    assert_eq!((counts.pairs, counts.singles), (1, 3));
    assert_eq!((counts.desirable, counts.undesirable), (3, 2));
    assert_eq!((counts.ratio, counts.balance), (Some(1.5), Some(0.4)));
    assert_eq!(
        (counts.prompts_with_siblings, counts.pairable_prompts),
        (2, 1)
    );
    assert_eq!(
        (
            counts.truncated,
            counts.truncated_desirable,
            counts.truncated_pairs
        ),
        (1, 0, 1)
    );
}

#[test]
fn a_broken_pair_is_named() {
    let [w, l] = pair(4, 1, (1, 1), (2, 1));
    let says = |rows: &[Judged], message: &str| {
        let error = diagnose(rows).unwrap_err();
        assert!(error.is_data() && error.argument() == Some("pair"));
        assert_eq!(error.to_string(), message);
    };
    says(&[w], "row 0: pair 4 has no rejected completion");
    says(&[l], "row 0: pair 4 has no chosen completion");
    says(
        &[w, l, w],
        "row 2: pair 4 already has a chosen (desirable) completion",
    );
    let other = Judged { prompt: 2, ..l };
    says(
        &[w, other],
        "row 1: pair 4 compares completions of prompts 1 and 2",
    );
}

#[test]
fn repeated_judgements_are_copies_or_contradictions() {
    let mut rows = Vec::from([single(1, 1, Desirable); 3]);
    rows.push(single(1, 1, Undesirable));
    rows.push(single(1, 2, Undesirable)); // judged once: says nothing of noise
    rows.extend(preferences(&[(1, 2), (2, 1), (1, 2), (5, 5)]));
    let found = diagnose(&rows).unwrap();
    assert_eq!(found.duplicates, Duplicates { rows: 2, pairs: 1 });
    let Contradictions {
        completions,
        reversed,
        identical,
        ..
    } = found.contradictions;
    assert_eq!((completions, reversed, identical), (1, 1, 1));
    let noise = found.noise.unwrap();
    assert_eq!((noise.of_repeated.count, noise.of_repeated.of), (2, 7));
    assert_eq!((noise.of_all.count, noise.of_all.of), (2, 8));
    assert_eq!((noise.repeated, noise.agreeing), (2, 0));
    assert!(!noise.representative());
}

#[test]
fn the_middle_of_an_order_is_no_contradiction() {
    let found = diagnose(&preferences(&[(1, 2), (2, 3), (1, 3)])).unwrap();
    assert_eq!(found.contradictions.completions, 0);
    assert_eq!(found.contradictions.both_labels, 1);
    assert_eq!(found.noise, None);
    assert_eq!((found.cycles.prompts, found.cycles.testable), (0, 1));
}

#[test]
fn a_cycle_is_more_than_a_reversal() {
    let cycles = |edges: &[(u64, u64)]| diagnose(&preferences(edges)).unwrap().cycles;
    assert_eq!(cycles(&[(1, 2), (2, 1)]), Cycles::default());
    assert_eq!(cycles(&[(1, 2), (2, 3), (3, 1)]).example, Some(7));
    assert_eq!(
        cycles(&[(9, 1), (1, 2), (2, 3), (3, 4), (4, 1), (4, 8)]).prompts,
        1
    );
    // the majority breaks it, and an even count takes its edge out
    assert_eq!(cycles(&[(1, 2), (2, 3), (3, 1), (1, 3), (1, 3)]).prompts, 0);
    assert_eq!(cycles(&[(1, 2), (2, 3), (3, 1), (1, 3)]).prompts, 0);
    assert_eq!(cycles(&[(1, 2), (2, 3), (3, 1), (3, 1), (1, 3)]).prompts, 1);
}

#[test]
fn length_bias_is_measured_on_pairs_and_on_rows() {
    let mut rows = Vec::new();
    for i in 0..8_u32 {
        let (w, l) = if i < 6 { (30, 10) } else { (10, 30) };
        rows.extend(pair(i, u64::from(i), (1, w), (2, l)));
    }
    rows.extend(pair(8, 8, (1, 20), (2, 20)));
    let lengths = diagnose(&rows).unwrap().lengths;
    let wins = lengths.longer_wins.unwrap();
    assert_eq!((wins.count, wins.of), (6, 8));
    assert_eq!(lengths.near_equal.unwrap().count, 1);
    // by hand: means 220/9 and 140/9, variance of all 1600/18, so r = (80/9) / sqrt(800/9) / 2
    let expected = (80.0 / 9.0) / libm::sqrt(800.0 / 9.0) / 2.0;
    assert!((lengths.correlation.unwrap() - expected).abs() < 1e-15);
    assert!(lengths.desirable > lengths.undesirable);
}
