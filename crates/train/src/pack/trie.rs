//! From sequences to a forest of nodes: which tokens are computed once for whom.

use std::borrow::Cow;

use super::{MIN_SHARED, Sequence};

/// A run of tokens with one parent.
pub(super) struct Node<'a> {
    pub(super) tokens: Cow<'a, [u32]>,
    /// An earlier node.
    pub(super) parent: Option<usize>,
    /// Position of the first token.
    pub(super) pos0: usize,
    /// Whether a sequence with gradient passes through.
    pub(super) grad: bool,
}

/// Where one token of a node stands.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) node: usize,
    pub(super) offset: usize,
}

/// Which tokens predict a sequence's completion.
#[derive(Clone, Copy, Default)]
pub(super) struct Path {
    /// Predicts `completion[0]`; none for an empty prompt.
    pub(super) before: Option<Place>,
    /// The place of `completion[0]`, which predicts `completion[1]`, and so on; none for a one-token completion.
    pub(super) inside: Option<Place>,
}

/// Nodes with parents before children, and one path a sequence.
pub(super) struct Forest<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) paths: Vec<Path>,
}

/// Every sequence as one node of its own.
pub(super) fn separate<'a>(sequences: &[Sequence<'a>]) -> Forest<'a> {
    let mut nodes = Vec::new();
    let mut paths = vec![Path::default(); sequences.len()];
    for (path, sequence) in paths
        .iter_mut()
        .zip(sequences)
        .filter(|(_, s)| is_scored(s))
    {
        let (prompt, inner) = (sequence.prompt, inner(sequence));
        let node = nodes.len();
        path.before = prompt
            .len()
            .checked_sub(1)
            .map(|offset| Place { node, offset });
        path.inside = (!inner.is_empty()).then_some(Place {
            node,
            offset: prompt.len(),
        });
        nodes.push(Node {
            tokens: [prompt, inner].concat().into(),
            parent: None,
            pos0: 0,
            grad: sequence.grad,
        });
    }
    Forest { nodes, paths }
}

/// Prompts as tries, completions as branches below them.
pub(super) fn shared<'a>(sequences: &[Sequence<'a>]) -> Forest<'a> {
    let mut nodes = Vec::new();
    let mut paths = vec![Path::default(); sequences.len()];
    // Sorted by prompt, so that equal prompts stand together and prefixes before what they begin.
    let mut order: Vec<usize> = (0..sequences.len())
        .filter(|&i| is_scored(&sequences[i]))
        .collect();
    order.sort_by_key(|&i| (sequences[i].prompt, i));
    let empty = order.partition_point(|&i| sequences[i].prompt.is_empty());
    for &i in &order[..empty] {
        paths[i].inside = branch(&mut nodes, &sequences[i], None);
    }

    let mut pending = vec![Group {
        members: empty..order.len(),
        start: 0,
        common: 0,
        parent: None,
    }];
    while let Some(Group {
        members,
        start,
        common,
        parent,
    }) = pending.pop()
    {
        let Some((&first, &last)) = order[members.clone()]
            .first()
            .zip(order[members.clone()].last())
        else {
            continue;
        };
        let (first, last) = (sequences[first].prompt, sequences[last].prompt);
        // Sorted: what the outermost two share, all share.
        let common = common
            + first[common..]
                .iter()
                .zip(&last[common..])
                .take_while(|(a, b)| a == b)
                .count();
        let ending = members.start
            + order[members.clone()].partition_point(|&i| sequences[i].prompt.len() == common);
        let here = common - start >= MIN_SHARED || ending == members.end;
        let mut below = (start, parent);
        // With a short common part only the prompts that end here get the node; the longer ones start afresh.
        if common > start && (here || ending > members.start) {
            let node = nodes.len();
            nodes.push(Node {
                tokens: first[start..common].into(),
                parent,
                pos0: start,
                grad: false,
            });
            for &i in &order[members.start..ending] {
                paths[i].before = Some(Place {
                    node,
                    offset: common - start - 1,
                });
                paths[i].inside = branch(&mut nodes, &sequences[i], Some(node));
            }
            if here {
                below = (common, Some(node));
            }
        }
        // One group per next token; pushed in reverse, so that trees stay together.
        let mut groups = Vec::new();
        let mut from = ending;
        while from < members.end {
            let token = sequences[order[from]].prompt[common];
            let until = from
                + order[from..members.end]
                    .partition_point(|&i| sequences[i].prompt[common] == token);
            groups.push(Group {
                members: from..until,
                start: below.0,
                common,
                parent: below.1,
            });
            from = until;
        }
        pending.extend(groups.into_iter().rev());
    }

    for (path, _) in paths.iter().zip(sequences).filter(|(_, s)| s.grad) {
        let mut at = path.inside.or(path.before).map(|place| place.node);
        while let Some(node) = at {
            nodes[node].grad = true;
            at = nodes[node].parent;
        }
    }
    Forest { nodes, paths }
}

/// Prompts (a range of the sorted order) that share their first `common` tokens, of which `parent` holds `start`.
struct Group {
    members: std::ops::Range<usize>,
    start: usize,
    common: usize,
    parent: Option<usize>,
}

/// A completion as a node below `parent`; none if no token of it predicts anything.
fn branch<'a>(
    nodes: &mut Vec<Node<'a>>,
    sequence: &Sequence<'a>,
    parent: Option<usize>,
) -> Option<Place> {
    let tokens = inner(sequence);
    if tokens.is_empty() {
        return None;
    }
    nodes.push(Node {
        tokens: tokens.into(),
        parent,
        pos0: sequence.prompt.len(),
        grad: false,
    });
    Some(Place {
        node: nodes.len() - 1,
        offset: 0,
    })
}

/// The completion without its last token, which predicts nothing and which nobody attends to.
fn inner<'a>(sequence: &Sequence<'a>) -> &'a [u32] {
    sequence
        .completion
        .split_last()
        .map_or(&[], |(_, inner)| inner)
}

/// Whether any token is predicted; what is not scored needs no rows.
fn is_scored(sequence: &Sequence) -> bool {
    sequence.completion.len() > usize::from(sequence.prompt.is_empty())
}
