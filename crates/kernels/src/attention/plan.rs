//! Who computes what in the backward pass.

use super::tile::{Queries, cost, queries, tokens};
use super::{Layout, Shape};
use crate::parallel::Shared;
use rayon::prelude::*;
use std::cmp::Reverse;
use std::ops::Range;

/// Floats that sums of dk and dv may take where trees are cut: 256 MB. Uncut trees take as much as dk and dv themselves.
const SUMS: usize = 64 << 20;

/// Query tiles of one tree for one key/value head, with sums of dk and dv of its own.
pub(super) struct Unit {
    pub(super) tree: usize,
    pub(super) head: usize,
    pub(super) tiles: Vec<Queries>,
    /// Its part of the buffer of sums: dk (rows of the tree, E), then dv.
    pub(super) sums: Range<usize>,
    cost: usize,
}

/// All units of a backward pass.
pub(super) struct Plan {
    /// Tokens of a query tile.
    pub(super) tokens: usize,
    /// By tree, then head, then position in the tree.
    pub(super) units: Vec<Unit>,
    /// Units, costly ones first.
    pub(super) order: Vec<usize>,
    /// For each segment its first row in its tree's own numbering.
    pub(super) local: Vec<usize>,
    /// For each segment its tree, trees numbered in order of appearance.
    trees: Vec<usize>,
}

impl Plan {
    pub(super) fn new(layout: &Layout, shape: &Shape) -> Plan {
        let tokens = tokens(shape);
        let mut names: Vec<usize> = vec![];
        let mut lengths: Vec<usize> = vec![];
        let (mut trees, mut local) = (vec![], vec![]);
        for seg in &layout.segments {
            let tree = names
                .iter()
                .position(|&t| t == seg.tree)
                .unwrap_or_else(|| {
                    names.push(seg.tree);
                    lengths.push(0);
                    names.len() - 1
                });
            trees.push(tree);
            local.push(lengths[tree]);
            lengths[tree] += seg.rows.len();
        }

        // (tile, cost) of every tree.
        let mut work: Vec<Vec<(Queries, usize)>> = vec![vec![]; names.len()];
        for (s, &tree) in trees.iter().enumerate() {
            for tile in queries(layout, s, tokens) {
                let cost = cost(layout, &tile);
                work[tree].push((tile, cost));
            }
        }
        let total: usize = work.iter().flatten().map(|(_, cost)| cost).sum();
        // Three units a worker keep the pool busy to the end; every cut costs sums of its own.
        let share = (total * shape.kv_heads / (3 * rayon::current_num_threads())).max(1);
        let uncut = 2 * layout.rows() * shape.kv_width();
        let most = (SUMS / uncut.max(1)).max(1);

        let mut units: Vec<Unit> = vec![];
        for (tree, tiles) in work.iter().enumerate() {
            for head in 0..shape.kv_heads {
                for (tiles, cost) in cut(tiles, share, most) {
                    let start = units.last().map_or(0, |u| u.sums.end);
                    let sums = start..start + 2 * lengths[tree] * shape.head_dim;
                    units.push(Unit {
                        tree,
                        head,
                        tiles,
                        sums,
                        cost,
                    });
                }
            }
        }
        let mut order: Vec<usize> = (0..units.len()).collect();
        order.sort_by_key(|&u| Reverse(units[u].cost));
        Plan {
            tokens,
            units,
            order,
            local,
            trees,
        }
    }

    /// Writes dk and dv (N, K, E): for every row and head the sum over the units of its tree, in order.
    pub(super) fn collect(
        &self,
        sums: &[f32],
        dk: &mut [f32],
        dv: &mut [f32],
        layout: &Layout,
        shape: &Shape,
    ) {
        let e = shape.head_dim;
        let (dk, dv) = (Shared::new(dk), Shared::new(dv));
        let tasks = (0..layout.segments.len()).into_par_iter();
        tasks.for_each(|s| {
            for head in 0..shape.kv_heads {
                let parts: Vec<&Unit> = self
                    .units
                    .iter()
                    .filter(|u| u.tree == self.trees[s] && u.head == head)
                    .collect();
                for (i, row) in layout.segments[s].rows.clone().enumerate() {
                    let at = row * shape.kv_width() + head * e;
                    let from = (self.local[s] + i) * e;
                    for (out, half) in [(&dk, 0), (&dv, 1)] {
                        // SAFETY: segments have distinct rows, and one task has a whole segment.
                        let out = unsafe { out.slice(at..at + e) };
                        out.fill(0.0);
                        for unit in &parts {
                            let start = unit.sums.start + half * unit.sums.len() / 2 + from;
                            for (out, x) in out.iter_mut().zip(&sums[start..start + e]) {
                                *out += x;
                            }
                        }
                    }
                }
            }
        });
    }
}

/// At most `most` runs of neighbouring tiles, each costing about `share`.
fn cut(tiles: &[(Queries, usize)], share: usize, most: usize) -> Vec<(Vec<Queries>, usize)> {
    let total: usize = tiles.iter().map(|(_, cost)| cost).sum();
    let parts = ((total + share / 2) / share).clamp(1, most);
    let mut runs = vec![(vec![], 0); parts];
    let mut before = 0;
    for (tile, cost) in tiles {
        // By the middle of the tile, so that the last run is not left empty.
        let run = &mut runs[((2 * before + cost) * parts / (2 * total).max(1)).min(parts - 1)];
        run.0.push(tile.clone());
        run.1 += cost;
        before += cost;
    }
    runs.retain(|(tiles, _)| !tiles.is_empty());
    runs
}
