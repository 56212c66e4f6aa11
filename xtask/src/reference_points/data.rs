//! Batches as a trainer meets them: answers of some origin, labels one to four, and for each row a mismatched twin.

use halo_loss::{Batch, Label, Row, TokenColumns};
use halo_train::Rng;

use super::chain::{Answer, Chain};
use super::world::{MIDDLE, PROMPTS, Path, World};

/// Where the answers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// The policy of the step: y ~ π.
    Policy,
    /// y ~ π_ref.
    Reference,
    /// The best of four of π_ref's, by reward.
    Picked,
}

impl Behaviour {
    pub(super) const ALL: [Behaviour; 3] =
        [Behaviour::Policy, Behaviour::Reference, Behaviour::Picked];

    pub(super) fn phrase(self) -> &'static str {
        match self {
            Behaviour::Policy => "the policy's own answers",
            Behaviour::Reference => "the reference's answers",
            Behaviour::Picked => "hand-picked answers",
        }
    }
}

/// Where the data of a run come from.
pub(super) struct Origin<'a> {
    world: &'a World,
    path: &'a Path,
    behaviour: Behaviour,
    /// Answers with at least that reward are desirable: one in five.
    threshold: f64,
}

/// Rows or their twins, with their tokens.
#[derive(Default)]
pub(super) struct Scored {
    pub(super) rows: Vec<Row>,
    tokens: TokenColumns,
}

/// One step's data.
pub(super) struct Draw {
    pub(super) prompts: Vec<usize>,
    pub(super) own: Scored,
    /// Row i's prompt with an answer to another prompt.
    pub(super) twins: Scored,
}

impl<'a> Origin<'a> {
    pub(super) fn new(
        world: &'a World,
        path: &'a Path,
        behaviour: Behaviour,
        mut rng: Rng,
    ) -> Origin<'a> {
        let mut origin = Origin {
            world,
            path,
            behaviour,
            threshold: 0.0,
        };
        let mut rewards: Vec<f64> = (0..1000)
            .map(|i| {
                let answer = origin.answer(MIDDLE, i % PROMPTS, &mut rng);
                world.reward(i % PROMPTS, &answer)
            })
            .collect();
        rewards.sort_by(f64::total_cmp);
        origin.threshold = rewards[800];
        origin
    }

    /// A step's batch: `siblings` answers to each of its prompts, which are drawn without replacement.
    pub(super) fn draw(&self, step: usize, size: usize, siblings: usize, rng: &mut Rng) -> Draw {
        let mut chosen: Vec<usize> = Vec::with_capacity(size / siblings);
        while chosen.len() < size / siblings {
            let prompt = rng.below(PROMPTS as u64) as usize;
            if !chosen.contains(&prompt) {
                chosen.push(prompt);
            }
        }
        let prompts: Vec<usize> = (0..size).map(|i| chosen[i / siblings]).collect();
        let answers: Vec<Answer> = prompts.iter().map(|&x| self.answer(step, x, rng)).collect();
        let mut draw = Draw {
            own: Scored::default(),
            twins: Scored::default(),
            prompts,
        };
        for (i, other) in self
            .rotated(step, &draw.prompts, &answers, rng)
            .iter()
            .enumerate()
        {
            let prompt = draw.prompts[i];
            let desirable = self.world.reward(prompt, &answers[i]) >= self.threshold;
            let row = Row {
                label: if desirable {
                    Label::Desirable
                } else {
                    Label::Undesirable
                },
                group: (i / siblings) as u32,
                ..Row::default()
            };
            let policy = &self.path.policies[step][prompt];
            let reference = &self.world.references[prompt];
            draw.own.push(row, policy, reference, &answers[i]);
            draw.twins.push(row, policy, reference, other);
        }
        draw
    }

    fn answer(&self, step: usize, prompt: usize, rng: &mut Rng) -> Answer {
        let reference = &self.world.references[prompt];
        match self.behaviour {
            Behaviour::Policy => self.path.policies[step][prompt].sample(rng),
            Behaviour::Reference => reference.sample(rng),
            Behaviour::Picked => {
                let answers = [(); 4].map(|()| reference.sample(rng));
                let better = |a: Answer, b: Answer| {
                    let worse = self.world.reward(prompt, &b) <= self.world.reward(prompt, &a);
                    if worse { a } else { b }
                };
                answers.into_iter().reduce(better).unwrap_or(answers[0])
            }
        }
    }

    /// The rule of `halo_train::pairing::rotate`: the smallest shift that gives every row another prompt's answer with another text; else
    /// each row's nearest such; else one from elsewhere in the data.
    fn rotated(
        &self,
        step: usize,
        prompts: &[usize],
        answers: &[Answer],
        rng: &mut Rng,
    ) -> Vec<Answer> {
        let n = answers.len();
        let suits = |i: usize, shift: usize| {
            let j = (i + shift) % n;
            let other = prompts[i] != prompts[j] && answers[i] != answers[j];
            other.then_some(answers[j])
        };
        let all = |shift| (0..n).map(|i| suits(i, shift)).collect::<Option<Vec<_>>>();
        if let Some(answers) = (1..n).find_map(all) {
            return answers;
        }
        let mut elsewhere = |i: usize| loop {
            let prompt = rng.below(PROMPTS as u64) as usize;
            let answer = self.answer(step, prompt, rng);
            if prompt != prompts[i] && answer != answers[i] {
                return answer;
            }
        };
        (0..n)
            .map(|i| {
                let nearest = (1..n).find_map(|shift| suits(i, shift));
                nearest.unwrap_or_else(|| elsewhere(i))
            })
            .collect()
    }
}

impl Scored {
    pub(super) fn batch(&self) -> Batch<'_> {
        Batch {
            rows: &self.rows,
            tokens: self.tokens.view(),
        }
    }

    fn push(&mut self, row: Row, policy: &Chain, reference: &Chain, answer: &Answer) {
        self.tokens.logps.extend(policy.logps(answer));
        self.tokens.ref_logps.extend(reference.logps(answer));
        self.rows.push(Row {
            logp: policy.logps(answer).sum(),
            ref_logp: reference.logps(answer).sum(),
            tokens: answer.tokens(),
            ..row
        });
    }
}
