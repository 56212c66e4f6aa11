//! The table, row by row, on synthetic data.

use std::string::ToString;
use std::vec::Vec;

use super::*;
use crate::diagnosis::{Judged, diagnose};
use crate::example::Label::{self, Desirable, Undesirable};
use crate::loss::Loss;
use crate::params::ParamValue;

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

/// A desirable share of 1 / `every`.
fn singles(n: u64, every: u64) -> Vec<Judged> {
    let label = |i: u64| {
        if i % every == 0 {
            Desirable
        } else {
            Undesirable
        }
    };
    (0..n).map(|i| single(i, i, label(i))).collect()
}

fn pair(index: u64, prompt: u64, w: u64, l: u64) -> [Judged; 2] {
    let pair = Some(index as u32);
    [
        Judged {
            pair,
            ..single(prompt, w, Desirable)
        },
        Judged {
            pair,
            ..single(prompt, l, Undesirable)
        },
    ]
}

fn pairs(n: u64) -> Vec<Judged> {
    (0..n).flat_map(|i| pair(i, i, 2 * i, 2 * i + 1)).collect()
}

fn advice(rows: &[Judged], signals: Signals) -> Advice {
    advise(&diagnose(rows).unwrap(), &signals).unwrap()
}

fn has(advice: &Advice, data: Trait) -> bool {
    advice.traits.iter().any(|finding| finding.data == data)
}

fn of<'a>(advice: &'a Advice, loss: &str) -> &'a Candidate {
    advice
        .ranking
        .iter()
        .find(|c| c.proposal.loss == loss)
        .unwrap()
}

/// `better` stands before `worse`, with a reason, and can be built as proposed.
fn prefers(advice: &Advice, better: &str, worse: &str) {
    let place = |loss| {
        advice
            .ranking
            .iter()
            .position(|c| c.proposal.loss == loss)
            .unwrap()
    };
    assert!(place(better) < place(worse), "{:#?}", advice.ranking);
    assert!(of(advice, better).score > of(advice, worse).score);
    assert!(!of(advice, better).reasons_for.is_empty());
    for candidate in &advice.ranking {
        Loss::new(&candidate.proposal.loss, &candidate.proposal.params).unwrap();
    }
}

#[test]
fn binary_and_weak_feedback_is_for_kto() {
    for weak in [false, true] {
        let advice = advice(
            &singles(100, 2),
            Signals {
                weak,
                ..Signals::default()
            },
        );
        assert!(has(&advice, Trait::Binary) && !has(&advice, Trait::Imbalanced));
        assert_eq!(advice.traits[0].evidence.contains("indirect"), weak);
        prefers(&advice, "kto", "dpo");
        assert!(of(&advice, "dpo").blocked.is_some());
        assert!(of(&advice, "kto").proposal.params.is_empty());
    }
}

#[test]
fn imbalanced_feedback_is_for_kto_with_weights() {
    let advice = advice(&singles(1000, 10), Signals::default());
    assert!(has(&advice, Trait::Imbalanced));
    prefers(&advice, "kto", "dpo");
    let proposal = &of(&advice, "kto").proposal;
    assert_eq!(
        proposal.params.get("desirable_weight"),
        Some(&ParamValue::Number(9.0))
    );
    assert_eq!(
        proposal.params.get("undesirable_weight"),
        Some(&ParamValue::Number(1.0))
    );
    assert!(proposal.why[0].contains("100 desirable and 900 undesirable"));
    assert!(of(&advice, "dpo").proposal.params.is_empty());
}

#[test]
fn scarce_pairs_are_for_kto() {
    let advice = advice(&pairs(200), Signals::default());
    assert!(has(&advice, Trait::Pairs) && has(&advice, Trait::ScarcePairs));
    prefers(&advice, "kto", "dpo");
    assert_eq!(of(&advice, "dpo").blocked, None);
    assert_eq!(
        advice.unknown.len(),
        2,
        "noise and fineness: {:?}",
        advice.unknown
    );
}

#[test]
fn noisy_and_contradictory_data_is_for_kto() {
    // one pair in ten also stands the other way round
    let mut rows = pairs(20_000);
    for i in 0..2_000 {
        rows.extend(pair(20_000 + i, i, 2 * i + 1, 2 * i));
    }
    let noisy = advice(&rows, Signals::default());
    assert!(has(&noisy, Trait::Noisy) && !has(&noisy, Trait::AbundantCleanPairs));
    prefers(&noisy, "kto", "dpo");
    let smoothing = |advice: &Advice, loss| {
        of(advice, loss)
            .proposal
            .params
            .get("label_smoothing")
            .cloned()
    };
    assert_eq!(smoothing(&noisy, "dpo"), Some(ParamValue::Number(0.0909)));
    assert_eq!(
        smoothing(&noisy, "kto"),
        None,
        "it gives wrong rows up by itself"
    );

    let told = advice(
        &pairs(20_000),
        Signals {
            noise: Some(0.2),
            ..Signals::default()
        },
    );
    prefers(&told, "kto", "dpo");
    assert_eq!(smoothing(&told, "dpo"), Some(ParamValue::Number(0.2)));

    let cycle = |i: u64| {
        [(0, 1), (1, 2), (2, 0)]
            .map(|(w, l)| pair(3 * i + w, i, w, l))
            .concat()
    };
    let cycles: Vec<Judged> = (0..2_000).flat_map(cycle).collect();
    let cyclic = advice(&cycles, Signals::default());
    assert!(has(&cyclic, Trait::Noisy));
    prefers(&cyclic, "kto", "dpo");
}

#[test]
fn abundant_clean_pairs_are_for_dpo() {
    let mut rows = pairs(12_000);
    let on_trust = advice(&rows, Signals::default());
    prefers(&on_trust, "dpo", "kto");
    let clean = |advice: &Advice| {
        let found = advice
            .traits
            .iter()
            .find(|f| f.data == Trait::AbundantCleanPairs);
        found.unwrap().evidence.clone()
    };
    assert!(clean(&on_trust).ends_with("taken on trust"));
    // judged again, and the same
    rows.extend((0..500).flat_map(|i| pair(12_000 + i, i, 2 * i, 2 * i + 1)));
    let checked = advice(&rows, Signals::default());
    assert!(
        clean(&checked).contains("repeated: 0 of 1000"),
        "{}",
        clean(&checked)
    );
    prefers(&checked, "dpo", "kto");
}

#[test]
fn fine_comparisons_are_for_dpo() {
    let fine = [
        Signals {
            fine_comparisons: Some(true),
            ..Signals::default()
        },
        Signals {
            near_equal: Some(0.7),
            ..Signals::default()
        },
    ];
    for signals in fine {
        let advice = advice(&pairs(3_000), signals);
        assert!(has(&advice, Trait::FineComparisons) && !has(&advice, Trait::AbundantCleanPairs));
        prefers(&advice, "dpo", "kto");
    }
    let coarse = advice(
        &pairs(3_000),
        Signals {
            near_equal: Some(0.1),
            ..Signals::default()
        },
    );
    assert!(!has(&coarse, Trait::FineComparisons));
    assert_eq!(coarse.unknown.len(), 1, "only the noise");
}

#[test]
fn demonstrations_are_imitated() {
    let rows: Vec<Judged> = (0..50).map(|i| single(i, i, Desirable)).collect();
    let advice = advice(&rows, Signals::default());
    assert_eq!(advice.traits.len(), 1);
    assert_eq!(advice.ranking[0].proposal.loss, "sft");
    assert!(of(&advice, "kto").blocked.is_some());
}

#[test]
fn an_accident_makes_no_noise() {
    let mut rows = pairs(12_000);
    // all repeats contradict, as after a removal of copies: they say nothing of the rest
    for i in 0..5 {
        rows.extend(pair(12_000 + i, i, 2 * i + 1, 2 * i));
    }
    let advice = advice(&rows, Signals::default());
    assert!(!has(&advice, Trait::Noisy));
    assert!(advice.warnings[0].contains("5 comparisons go both ways"));
}

#[test]
fn a_signal_that_is_no_share_is_refused() {
    let data = diagnose(&[]).unwrap();
    let error = advise(
        &data,
        &Signals {
            noise: Some(1.5),
            ..Signals::default()
        },
    )
    .unwrap_err();
    assert_eq!(error.to_string(), "noise = 1.5 is no share: 0..=1");
    let nothing = advise(&data, &Signals::default()).unwrap();
    assert!(nothing.traits.is_empty() && nothing.ranking.iter().all(|c| c.blocked.is_some()));
}
