//! Over all collected units: one completion per prompt, and the counts of the report.

use std::collections::HashMap;

use halo_loss::Label;

use super::Collector;

impl Collector<'_> {
    /// Keeps one completion per prompt: desirable, undesirable, desirable, … as far as the prompts have both.
    pub(super) fn one_completion_per_prompt(&mut self) {
        let mut order: Vec<Vec<usize>> = Vec::new();
        let mut groups: HashMap<&[u32], usize> = HashMap::new();
        for (index, unit) in self.units.iter().enumerate() {
            let group = *groups.entry(unit.prompt.as_slice()).or_insert(order.len());
            match order.get_mut(group) {
                Some(members) => members.push(index),
                None => order.push(vec![index]),
            }
        }
        let mut keep = vec![false; self.units.len()];
        for (number, members) in order.iter().enumerate() {
            let wanted = match number % 2 {
                0 => Label::Desirable,
                _ => Label::Undesirable,
            };
            let label = |index: &usize| self.units[*index].answers[0].label;
            let chosen = members.iter().find(|index| label(index) == wanted);
            keep[*chosen.unwrap_or(&members[0])] = true;
        }
        self.report.dropped_siblings += self.units.len() - order.len();
        let mut keep = keep.into_iter();
        self.units.retain(|_| keep.next().unwrap_or(false));
    }

    /// Fills the report's counts of what is kept.
    pub(super) fn count(&mut self) {
        let controls = self.controls.as_ref();
        let report = &mut self.report;
        report.kept = self.units.len();
        let mut prompts: HashMap<&[u32], HashMap<Vec<&[u32]>, Label>> = HashMap::new();
        for unit in &self.units {
            let seen = prompts.entry(unit.prompt.as_slice()).or_default();
            for answer in &unit.answers {
                match answer.label {
                    Label::Desirable => report.desirable += 1,
                    Label::Undesirable => report.undesirable += 1,
                }
                let control = controls.map_or(0, |controls| controls.tokens(answer.label).len());
                let prompt = unit.prompt.len() + control;
                report.controlled += usize::from(control > 0);
                report.prompt_tokens += prompt as u64;
                report.completion_tokens += answer.tokens.len() as u64;
                report.longest = report.longest.max(prompt + answer.tokens.len());
            }
            let mut completions: Vec<&[u32]> = unit
                .answers
                .iter()
                .map(|answer| answer.tokens.as_slice())
                .collect();
            // A pair that is preferred the other way round is the same pair with the other label.
            let mut label = unit.answers[0].label;
            if completions.len() == 2 {
                report.ties += usize::from(completions[0] == completions[1]);
                if completions[0] > completions[1] {
                    completions.reverse();
                    label = Label::Undesirable;
                }
            }
            match seen.get(&completions) {
                Some(earlier) if *earlier == label => report.duplicates += 1,
                Some(_) => report.contradictions += 1,
                None => {
                    seen.insert(completions, label);
                }
            }
        }
        report.prompts = prompts.len();
    }
}
