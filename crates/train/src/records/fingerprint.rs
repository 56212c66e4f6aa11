//! Whether the data is still the data of a saved run.

use halo_loss::Label;

use super::{Dataset, Unit};

impl Dataset {
    /// A digest of everything a run depends on: tokens, labels, rewards, weights, units. Ids are free to change.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Fnv::default();
        for record in &self.records {
            hash.tokens(&record.prompt);
            hash.tokens(&record.completion);
            hash.word(u64::from(record.label == Label::Desirable));
            hash.number(record.score.unwrap_or(f64::NAN));
            hash.number(record.weight);
            hash.number(record.beta_scale);
            record.old_logps.iter().for_each(|logp| hash.number(*logp));
        }
        for unit in &self.units {
            hash.word(u64::from(matches!(unit, Unit::Pair { .. })));
            unit.records().for_each(|record| hash.word(record as u64));
        }
        hash.0
    }
}

/// FNV-1a over 64-bit words instead of bytes, high bits folded back: enough to notice changed data, not meant against forgery.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xCBF2_9CE4_8422_2325)
    }
}

impl Fnv {
    fn word(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01B3);
        self.0 = mixed ^ (mixed >> 29);
    }

    fn number(&mut self, number: f64) {
        self.word(number.to_bits());
    }

    fn tokens(&mut self, tokens: &[u32]) {
        self.word(tokens.len() as u64);
        tokens.iter().for_each(|&token| self.word(u64::from(token)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Record;

    fn record(id: &str, prompt: &[u32], completion: &[u32], label: Label) -> Record {
        Record {
            id: id.into(),
            prompt: prompt.into(),
            completion: completion.into(),
            label,
            group: 0,
            ..Record::default()
        }
    }

    fn singles(records: Vec<Record>) -> Dataset {
        let units = (0..records.len()).map(Unit::Single).collect();
        Dataset::new(records, units).unwrap()
    }

    #[test]
    fn the_fingerprint_sees_tokens_labels_and_units_but_not_ids() {
        let base = vec![
            record("a", &[1], &[2, 3], Label::Desirable),
            record("b", &[1, 2], &[3], Label::Undesirable),
        ];
        let of = |records: &[Record]| singles(records.to_vec()).fingerprint();
        let mut renamed = base.clone();
        renamed[0].id = "z".into();
        assert_eq!(of(&base), of(&renamed));
        let mut moved = base.clone();
        (moved[0].prompt, moved[0].completion) = (vec![1, 2], vec![3]);
        let mut flipped = base.clone();
        flipped[0].label = Label::Undesirable;
        let swapped = vec![base[1].clone(), base[0].clone()];
        for other in [moved, flipped, swapped] {
            assert_ne!(of(&base), of(&other));
        }
    }
}
