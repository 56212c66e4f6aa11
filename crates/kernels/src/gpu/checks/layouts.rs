//! Packs for attention.

use crate::attention::{Layout, Seg};

/// A forest of segments: every tree a random trie whose parents stand before their children. `below` chooses a number below its argument.
pub fn forest(
    below: &mut impl FnMut(usize) -> usize,
    trees: usize,
    segments: usize,
    longest: usize,
    window: Option<usize>,
) -> Layout {
    let mut all: Vec<Seg> = vec![];
    let mut row = 0;
    for tree in 0..trees {
        let first = all.len();
        for s in 0..1 + below(segments) {
            let rows = row..row + below(longest + 1);
            row = rows.end;
            let (mut kv, pos0) = match s {
                0 => (vec![], [0, 3][below(2)]),
                _ => {
                    let parent = &all[first + below(s)];
                    (parent.kv.clone(), parent.pos0 + parent.rows.len())
                }
            };
            kv.push(all.len());
            all.push(Seg {
                rows,
                pos0,
                kv,
                tree,
            });
        }
    }
    Layout {
        segments: all,
        window,
    }
}

/// A prompt of 70 rows, a tile and six, with branches of 5 and 17.
pub(super) fn fork(window: Option<usize>) -> Layout {
    Layout {
        segments: vec![
            segment(0, 70, 0, &[0], 0),
            segment(70, 5, 70, &[0, 1], 0),
            segment(75, 17, 70, &[0, 2], 0),
        ],
        window,
    }
}

/// A trie of three levels whose tiles have 65, 1, 64, 0 and 63 rows, and a tree of one row.
pub fn trie(window: Option<usize>) -> Layout {
    Layout {
        segments: vec![
            segment(0, 65, 0, &[0], 0),
            segment(65, 1, 65, &[0, 1], 0),
            segment(66, 64, 65, &[0, 2], 0),
            segment(130, 0, 66, &[0, 1, 3], 0),
            segment(130, 63, 129, &[0, 2, 4], 0),
            segment(193, 1, 5, &[5], 1),
        ],
        window,
    }
}

pub(super) fn sequence(rows: usize) -> Layout {
    Layout {
        segments: vec![segment(0, rows, 0, &[0], 0)],
        window: None,
    }
}

fn segment(first: usize, rows: usize, pos0: usize, kv: &[usize], tree: usize) -> Seg {
    Seg {
        rows: first..first + rows,
        pos0,
        kv: kv.to_vec(),
        tree,
    }
}
