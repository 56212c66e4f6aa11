//! A pack holds exactly the sequences it was built from, however their prefixes are shared.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use halo_train::{Gradient, Pack, Sequence};
use proptest::prelude::*;

type Owned = (Vec<u32>, Vec<u32>, bool);

fn build(sequences: &[Owned], share: bool) -> Pack {
    let borrowed: Vec<Sequence> = sequences
        .iter()
        .map(|(prompt, completion, grad)| Sequence {
            prompt,
            completion,
            grad: *grad,
        })
        .collect();
    Pack::build(&borrowed, share)
}

/// The tokens that `row` sees, in order: the ancestors in full, then its own segment up to itself.
fn context(pack: &Pack, row: u32) -> Vec<u32> {
    let segment = pack
        .segments
        .iter()
        .position(|s| s.rows.contains(&row))
        .unwrap();
    let rows = pack.kv[segment].iter().flat_map(|&s| {
        let rows = pack.segments[s as usize].rows.clone();
        if s as usize == segment {
            rows.start..row + 1
        } else {
            rows
        }
    });
    let rows: Vec<u32> = rows.collect();
    let positions: Vec<u32> = rows
        .iter()
        .map(|&row| pack.positions[row as usize])
        .collect();
    assert_eq!(
        positions,
        (0..rows.len() as u32).collect::<Vec<_>>(),
        "positions count up along a path"
    );
    rows.iter().map(|&row| pack.tokens[row as usize]).collect()
}

/// Every invariant of `performance.md` §4.1 and §4.2 that an executor relies on.
fn check(pack: &Pack, sequences: &[Owned]) {
    // Scores: every completion token once, predicted by exactly the tokens before it.
    let mut scored: Vec<(u32, Vec<u32>, u32)> = pack
        .scores
        .iter()
        .map(|s| (s.seq, context(pack, s.row), s.target))
        .collect();
    let mut expected: Vec<(u32, Vec<u32>, u32)> = Vec::new();
    for (seq, (prompt, completion, _)) in sequences.iter().enumerate() {
        let all = [&prompt[..], completion].concat();
        for at in prompt.len().max(1)..all.len() {
            expected.push((seq as u32, all[..at].to_vec(), all[at]));
        }
    }
    scored.sort();
    expected.sort();
    assert_eq!(scored, expected);

    // Rows: segments tile them in order, gradient first, parents before children.
    assert_eq!(pack.tokens.len(), pack.positions.len());
    let mut next = 0;
    for (index, segment) in pack.segments.iter().enumerate() {
        assert_eq!(segment.rows.start, next);
        assert!(segment.rows.end > next, "no segment is empty");
        next = segment.rows.end;
        assert_eq!(segment.grad, segment.rows.end <= pack.grad_rows);
        assert_eq!(pack.positions[segment.rows.start as usize], segment.pos0);
        let parent = segment.parent.map(|p| &pack.segments[p as usize]);
        assert_eq!(
            segment.pos0,
            parent.map_or(0, |p| p.pos0 + p.rows.len() as u32)
        );
        let mut ancestors = segment
            .parent
            .map_or(vec![], |p| pack.kv[p as usize].clone());
        assert!(ancestors.iter().all(|&a| (a as usize) < index));
        ancestors.push(index as u32);
        assert_eq!(pack.kv[index], ancestors);
    }
    assert_eq!(next as usize, pack.rows());

    // Gradient: exactly the ancestors of differentiated scores.
    for (index, segment) in pack.segments.iter().enumerate() {
        let carries = pack.scores[..pack.grad_scores as usize]
            .iter()
            .any(|score| {
                let at = pack
                    .segments
                    .iter()
                    .position(|s| s.rows.contains(&score.row))
                    .unwrap();
                pack.kv[at].contains(&(index as u32))
            });
        // A branch's inner rows are scored whenever the branch is, so a prompt node is the only interesting case.
        assert_eq!(segment.grad, carries, "segment {index}");
        let readers: Vec<u32> = (0..pack.segments.len() as u32)
            .filter(|&r| {
                pack.segments[r as usize].grad && pack.kv[r as usize].contains(&(index as u32))
            })
            .collect();
        assert_eq!(pack.readers[index], readers);
    }
    for (index, score) in pack.scores.iter().enumerate() {
        assert_eq!(
            sequences[score.seq as usize].2,
            index < pack.grad_scores as usize
        );
        assert!(index >= pack.grad_scores as usize || score.row < pack.grad_rows);
    }
    for part in [
        &pack.scores[..pack.grad_scores as usize],
        &pack.scores[pack.grad_scores as usize..],
    ] {
        assert!(part.is_sorted_by_key(|score| score.row));
    }
}

/// Prompts that often share short and long beginnings, and equal, empty and one-token parts.
fn sequences() -> impl Strategy<Value = Vec<Owned>> {
    let prompt = (
        prop::sample::select(vec![0usize, 1, 5, 15, 16, 17, 40]),
        prop::collection::vec(0u32..2, 0..6),
        0usize..30,
    )
        .prop_map(|(stem, turn, tail)| {
            let mut prompt: Vec<u32> = (0..stem as u32).collect();
            prompt.extend(&turn);
            prompt.extend((0..tail as u32).map(|t| t % 3));
            prompt
        });
    prop::collection::vec(
        (prompt, prop::collection::vec(0u32..3, 0..6), any::<bool>()),
        0..12,
    )
}

proptest! {
    #[test]
    fn every_token_path_reproduces_its_sequence(sequences in sequences()) {
        check(&build(&sequences, true), &sequences);
        check(&build(&sequences, false), &sequences);
    }

    #[test]
    fn sharing_never_adds_rows_and_scores_the_same_tokens(sequences in sequences()) {
        let (shared, separate) = (build(&sequences, true), build(&sequences, false));
        prop_assert!(shared.rows() <= separate.rows());
        prop_assert_eq!(shared.scored_tokens(), separate.scored_tokens());
    }

    #[test]
    fn the_rows_do_not_depend_on_the_order_of_the_sequences(sequences in sequences()) {
        let reversed: Vec<Owned> = sequences.iter().rev().cloned().collect();
        let (one, other) = (build(&sequences, true), build(&reversed, true));
        prop_assert_eq!(one.rows(), other.rows());
        prop_assert_eq!(one.grad_rows, other.grad_rows);
        prop_assert_eq!(one.segments.len(), other.segments.len());
    }

    #[test]
    fn sum_logps_and_spread_are_adjoint(sequences in sequences(), seed in 0u32..1000) {
        let pack = build(&sequences, true);
        // Small dyadic numbers: every sum below is exact.
        let number = |i: usize, salt: u32| f64::from((i as u32 * 37 + salt * 101 + seed) % 64) / 8.0;
        let grads = |i: usize| pack.scores[i].seq as usize;
        let per_score: Vec<f32> = (0..pack.scores.len())
            .map(|i| if sequences[grads(i)].2 { number(i, 1) as f32 } else { 0.0 })
            .collect();
        let dlogps: Vec<f64> = (0..sequences.len()).map(|i| number(i, 2)).collect();
        let left: f64 = pack.sum_logps(&per_score).iter().zip(&dlogps).map(|(a, b)| a * b).sum();
        let product = |spread: &[f32]| -> f64 {
            spread.iter().zip(&per_score).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        // The same numbers, given to every token of a sequence in turn.
        let counts = pack.scored_tokens();
        let repeated = dlogps.iter().zip(counts).flat_map(|(&dlogp, n)| vec![dlogp; n as usize]);
        let by_token = pack.spread(&Gradient::Tokens(repeated.collect()));
        let by_sequence = pack.spread(&Gradient::Sequences(dlogps));
        prop_assert_eq!(left, product(&by_sequence));
        prop_assert_eq!(by_sequence.len(), pack.grad_scores as usize);
        prop_assert_eq!(by_sequence, by_token);
    }

    #[test]
    fn tokens_come_in_the_order_of_the_sequences(sequences in sequences()) {
        let pack = build(&sequences, true);
        // each score's number says which token it is
        let targets: Vec<f32> = pack.scores.iter().map(|score| score.target as f32).collect();
        let expected: Vec<f64> = sequences
            .iter()
            .flat_map(|(prompt, completion, _)| &completion[usize::from(prompt.is_empty()).min(completion.len())..])
            .map(|&token| f64::from(token))
            .collect();
        prop_assert_eq!(pack.by_sequence(&targets), expected.clone());
        let order: Vec<f64> = (0..expected.len()).map(|i| i as f64).collect();
        let spread = pack.spread(&Gradient::Tokens(order));
        for (score, slope) in pack.scores.iter().zip(spread) {
            prop_assert_eq!(expected[slope as usize], f64::from(score.target));
        }
    }
}

#[test]
fn a_prompt_is_computed_once_for_its_completion_its_mismatch_and_its_siblings() {
    let prompt = vec![1, 2, 3];
    let sequences = vec![
        (prompt.clone(), vec![4, 5, 6], true),
        (prompt.clone(), vec![7, 8], false),
        (prompt, vec![9], true),
    ];
    let pack = build(&sequences, true);
    check(&pack, &sequences);
    assert_eq!(pack.tokens, [1, 2, 3, 4, 5, 7]);
    assert_eq!(pack.positions, [0, 1, 2, 3, 4, 3]);
    assert_eq!(pack.grad_rows, 5);
    // The last prompt row predicts the first token of all three branches.
    assert_eq!(
        pack.scores
            .iter()
            .filter(|score| score.row == 2)
            .map(|score| score.target)
            .collect::<Vec<_>>(),
        [4, 9, 7]
    );
}

#[test]
fn different_prompts_share_sixteen_tokens_but_not_fifteen() {
    for (common, rows) in [(15u32, 2 * 17), (16, 16 + 2)] {
        let prompt = |last: u32| {
            (0..common)
                .chain([last; 2].into_iter().take(17 - common as usize))
                .collect::<Vec<_>>()
        };
        let sequences = vec![(prompt(100), vec![1], true), (prompt(101), vec![1], true)];
        let pack = build(&sequences, true);
        check(&pack, &sequences);
        assert_eq!(pack.rows(), rows);
    }
}

#[test]
fn a_prompt_with_mismatches_only_stands_in_the_gradient_free_tail() {
    let sequences = vec![
        (vec![1, 1], vec![2, 2], false),
        (vec![3, 3], vec![4, 4], true),
    ];
    let pack = build(&sequences, true);
    check(&pack, &sequences);
    assert_eq!(pack.tokens, [3, 3, 4, 1, 1, 2]);
    assert_eq!((pack.grad_rows, pack.grad_scores), (3, 2));
}

#[test]
fn an_empty_prompt_leaves_the_first_token_unscored() {
    let sequences = vec![
        (vec![], vec![5, 6, 7], true),
        (vec![], vec![5], true),
        (vec![1], vec![], true),
    ];
    let pack = build(&sequences, true);
    check(&pack, &sequences);
    assert_eq!(pack.tokens, [5, 6]);
    assert_eq!(pack.scored_tokens(), [2, 0, 0]);
    assert_eq!(pack.sum_logps(&[-1.0, -2.0]), [-3.0, 0.0, 0.0]);
}

#[test]
fn thousands_of_nested_prompts_need_no_deep_stack() {
    let sequences: Vec<Owned> = (1..5_000).map(|n| (vec![0; n], vec![1], true)).collect();
    let pack = build(&sequences, true);
    // Runs of sixteen share; what is shorter stands alone.
    assert!(pack.rows() < 100_000, "{}", pack.rows());
}
