//! From the forest to rows: gradient first, and the lists that attention and the head read.

use super::trie::{Forest, Place};
use super::{Pack, Score, Segment, Sequence};

/// Lays the nodes out as segments and the paths as scores.
pub(super) fn flatten(sequences: &[Sequence], forest: &Forest) -> Pack {
    let nodes = &forest.nodes;
    let mut pack = Pack {
        sequences: sequences.len() as u32,
        ..Pack::default()
    };

    // A parent of a gradient node carries gradient, so this keeps parents before children.
    let with = |grad: bool| (0..nodes.len()).filter(move |&n| nodes[n].grad == grad);
    let mut segment_of = vec![0u32; nodes.len()];
    for node in with(true).chain(with(false)) {
        let segment = pack.segments.len() as u32;
        segment_of[node] = segment;
        let first = pack.rows() as u32;
        let pos0 = nodes[node].pos0 as u32;
        pack.tokens.extend_from_slice(&nodes[node].tokens);
        pack.positions
            .extend(pos0..pos0 + nodes[node].tokens.len() as u32);
        let rows = first..pack.rows() as u32;
        let parent = nodes[node].parent.map(|parent| segment_of[parent]);
        let mut kv = parent.map_or_else(Vec::new, |parent| pack.kv[parent as usize].clone());
        kv.push(segment);
        pack.kv.push(kv);
        if nodes[node].grad {
            pack.grad_rows = rows.end;
        }
        pack.segments.push(Segment {
            rows,
            parent,
            pos0,
            grad: nodes[node].grad,
        });
    }

    pack.readers = vec![Vec::new(); pack.segments.len()];
    for (reader, seen) in pack
        .kv
        .iter()
        .enumerate()
        .filter(|(reader, _)| pack.segments[*reader].grad)
    {
        for &segment in seen {
            pack.readers[segment as usize].push(reader as u32);
        }
    }

    let row = |place: Place| {
        pack.segments[segment_of[place.node] as usize].rows.start + place.offset as u32
    };
    for (seq, (sequence, path)) in sequences.iter().zip(&forest.paths).enumerate() {
        let seq = seq as u32;
        if let (Some(before), Some(&target)) = (path.before, sequence.completion.first()) {
            pack.scores.push(Score {
                row: row(before),
                target,
                seq,
            });
        }
        if let Some(inside) = path.inside {
            let rows = row(inside)..;
            let targets = sequence.completion.iter().skip(1);
            pack.scores.extend(
                rows.zip(targets)
                    .map(|(row, &target)| Score { row, target, seq }),
            );
        }
    }
    pack.scores
        .sort_by_key(|score| (!sequences[score.seq as usize].grad, score.row, score.seq));
    pack.grad_scores = pack
        .scores
        .iter()
        .filter(|score| sequences[score.seq as usize].grad)
        .count() as u32;
    pack
}
