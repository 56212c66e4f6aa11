//! Advantages: how much better than its group an answer is, made of the rewards that the data gives.

use alloc::vec::Vec;

use crate::error::Error;
use crate::example::Row;

/// The words for them.
pub const NAMES: &[&str] = &["group_std", "group_mean", "leave_one_out", "sign", "score"];

/// How advantages are made of rewards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advantage {
    /// (R − mean) / (std + 1e-4) over the group, std with n − 1 (GRPO: arXiv 2402.03300). HALOs: population std + 1e-2.
    GroupStd,
    /// R − mean over the group (Dr. GRPO: arXiv 2503.20783).
    GroupMean,
    /// R − mean of the group's others (RLOO: arXiv 2402.14740).
    LeaveOneOut,
    /// ±1 by the label (KTO's offline PPO baseline without a critic).
    Sign,
    /// The reward itself.
    Score,
}

impl Advantage {
    /// The one of that name.
    ///
    /// # Errors
    /// An unknown name, with the known ones.
    pub fn new(name: &str) -> Result<Advantage, Error> {
        Ok(match name {
            "group_std" => Advantage::GroupStd,
            "group_mean" => Advantage::GroupMean,
            "leave_one_out" => Advantage::LeaveOneOut,
            "sign" => Advantage::Sign,
            "score" => Advantage::Score,
            _ => return Err(Error::unknown("advantage", name, NAMES)),
        })
    }

    /// What it compares an answer with, in a phrase.
    pub fn meaning(self) -> &'static str {
        match self {
            Advantage::GroupStd => {
                "(R - mean) / (std + 1e-4) over the answers to the prompt, std with n - 1: GRPO's"
            }
            Advantage::GroupMean => "R - mean over the answers to the prompt: Dr. GRPO's",
            Advantage::LeaveOneOut => "R - mean of the other answers to the prompt: RLOO's",
            Advantage::Sign => "+1 for desirable rows, -1 for undesirable ones: needs no rewards",
            Advantage::Score => "the reward itself",
        }
    }

    /// Whether it needs rewards in the data.
    pub fn needs_scores(self) -> bool {
        self != Advantage::Sign
    }
}

/// Gives every row its advantage. All rows of a group must be there; alone in its group a row has advantage 0 where the group is
/// what it is compared with.
pub fn assign(advantage: Advantage, rows: &mut [Row]) {
    match advantage {
        Advantage::Sign => rows
            .iter_mut()
            .for_each(|row| row.advantage = row.label.sign()),
        Advantage::Score => rows.iter_mut().for_each(|row| row.advantage = row.score),
        _ => {
            let mut order: Vec<usize> = (0..rows.len()).collect();
            order.sort_by_key(|&row| (rows[row].group, row));
            let groups: Vec<u32> = rows.iter().map(|row| row.group).collect();
            for members in order.chunk_by(|&a, &b| groups[a] == groups[b]) {
                group(advantage, rows, members);
            }
        }
    }
}

fn group(advantage: Advantage, rows: &mut [Row], members: &[usize]) {
    let n = members.len() as f64;
    let sum: f64 = members.iter().map(|&row| rows[row].score).sum();
    let mean = sum / n;
    let square = |&row: &usize| (rows[row].score - mean) * (rows[row].score - mean);
    let squares: f64 = members.iter().map(square).sum();
    for &row in members {
        let score = rows[row].score;
        rows[row].advantage = match advantage {
            _ if n < 2.0 => 0.0,
            Advantage::GroupStd => (score - mean) / (libm::sqrt(squares / (n - 1.0)) + 1e-4),
            Advantage::LeaveOneOut => score - (sum - score) / (n - 1.0),
            _ => score - mean,
        };
    }
}
