//! Which block reads what, worked out on the host once per pack.

use crate::Error;
use crate::attention::{Layout, Seg, Shape};
use crate::gpu::{Gpu, Slice};
use std::cmp::Reverse;

/// Rows that a block of the tensor-core kernels owns.
pub(super) const TILE: usize = 64;

/// A window without an end; see `attention_visible` in tile.cuh.
pub(super) const EVERYTHING: usize = 1 << 31;

/// The tiles of a layout on the device.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) rows: usize,
    pub(super) window: usize,
    /// What each query tile reads.
    pub(super) queries: Tiles,
    /// By whom each key tile is read.
    pub(super) keys: Tiles,
}

/// Tiles of one side and runs of rows of the other.
#[derive(Clone, Debug)]
pub(super) struct Tiles {
    pub(super) count: usize,
    /// (count, 5): first row, rows, position of the first row, begin and end of its parts.
    pub(super) tiles: Slice,
    /// (parts, 3): first row, rows, position of the first row.
    pub(super) parts: Slice,
}

impl Plan {
    /// # Errors
    /// A layout or shape that contradicts itself, or positions beyond 2³¹; the device.
    pub fn new(gpu: &Gpu, layout: &Layout, shape: &Shape) -> Result<Plan, Error> {
        let op = "gpu::attention::Plan::new";
        shape.check(op)?;
        layout.check(op)?;
        let end = |seg: &Seg| (seg.pos0 + seg.rows.len()).max(seg.rows.end);
        if layout.segments.iter().any(|seg| end(seg) >= EVERYTHING) {
            return Err(Error::shape(op, "a row or a position is 2^31 or more"));
        }
        Ok(Plan {
            rows: layout.rows(),
            window: layout.window.map_or(EVERYTHING, |w| w.min(EVERYTHING)),
            queries: queries(layout).upload(gpu)?,
            keys: keys(layout).upload(gpu)?,
        })
    }

    /// Rows that the layout covers.
    pub fn rows(&self) -> usize {
        self.rows
    }
}

/// [`Tiles`] on the host.
#[derive(Debug, Default)]
struct Host {
    tiles: Vec<(Part, Vec<Part>)>,
}

/// A run of rows of the pack at consecutive positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    row: usize,
    rows: usize,
    position: usize,
}

impl Host {
    /// Costliest tiles first: blocks start in order, and a long one that starts last would be waited for.
    fn upload(mut self, gpu: &Gpu) -> Result<Tiles, Error> {
        self.tiles
            .sort_by_cached_key(|(_, parts)| Reverse(parts.iter().map(|p| p.rows).sum::<usize>()));
        let (mut tiles, mut all) = (vec![], vec![]);
        for (tile, parts) in &self.tiles {
            let begin = all.len() / 3;
            for part in parts {
                all.extend([part.row, part.rows, part.position].map(narrow));
            }
            tiles.extend([tile.row, tile.rows, tile.position, begin, all.len() / 3].map(narrow));
        }
        Ok(Tiles {
            count: self.tiles.len(),
            tiles: gpu.upload_u32(&tiles)?,
            parts: gpu.upload_u32(&all)?,
        })
    }
}

/// Query tiles with the keys that one of their rows sees.
fn queries(layout: &Layout) -> Host {
    let mut host = Host::default();
    for seg in &layout.segments {
        for tile in tiles(seg) {
            let horizon = layout
                .window
                .map_or(0, |w| (tile.position + 1).saturating_sub(w));
            let end = tile.position + tile.rows;
            let mut parts = vec![];
            for &a in &seg.kv {
                join(&mut parts, cut(&layout.segments[a], horizon, end));
            }
            host.tiles.push((tile, parts));
        }
    }
    host
}

/// Key tiles with the queries that see one of their rows.
fn keys(layout: &Layout) -> Host {
    let mut readers: Vec<Vec<usize>> = vec![vec![]; layout.segments.len()];
    for (s, seg) in layout.segments.iter().enumerate() {
        for &a in &seg.kv {
            readers[a].push(s);
        }
    }
    let mut host = Host::default();
    for (seg, readers) in layout.segments.iter().zip(&readers) {
        for tile in tiles(seg) {
            let last = tile.position + tile.rows - 1;
            let end = layout.window.map_or(usize::MAX, |w| last.saturating_add(w));
            let mut parts = vec![];
            for &s in readers {
                join(&mut parts, cut(&layout.segments[s], tile.position, end));
            }
            host.tiles.push((tile, parts));
        }
    }
    host
}

fn tiles(seg: &Seg) -> impl Iterator<Item = Part> + '_ {
    seg.rows.clone().step_by(TILE).map(|row| Part {
        row,
        rows: TILE.min(seg.rows.end - row),
        position: seg.pos0 + row - seg.rows.start,
    })
}

/// The rows of `seg` at positions `from..to`; may be none.
fn cut(seg: &Seg, from: usize, to: usize) -> Part {
    let from = from.saturating_sub(seg.pos0).min(seg.rows.len());
    let to = to.saturating_sub(seg.pos0).min(seg.rows.len());
    Part {
        row: seg.rows.start + from,
        rows: to.saturating_sub(from),
        position: seg.pos0 + from,
    }
}

/// Adds a part; one that goes on where the last ends, as a first child does after its parent, saves a ragged tile.
fn join(parts: &mut Vec<Part>, part: Part) {
    if part.rows == 0 {
        return;
    }
    match parts.last_mut() {
        Some(last)
            if last.row + last.rows == part.row && last.position + last.rows == part.position =>
        {
            last.rows += part.rows;
        }
        _ => parts.push(part),
    }
}

/// Values were checked to be at most 2³¹; sums over all parts are far below 2³² (a pack of 2³¹ rows does not fit a device).
#[allow(clippy::cast_possible_truncation)]
fn narrow(value: usize) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(row: usize, rows: usize, position: usize) -> Part {
        Part {
            row,
            rows,
            position,
        }
    }

    fn seg(rows: std::ops::Range<usize>, pos0: usize, kv: &[usize]) -> Seg {
        Seg {
            rows,
            pos0,
            kv: kv.to_vec(),
            tree: 0,
        }
    }

    /// A prompt of 70 rows with two branches of 5.
    fn fork(window: Option<usize>) -> Layout {
        Layout {
            segments: vec![
                seg(0..70, 0, &[0]),
                seg(70..75, 70, &[0, 1]),
                seg(75..80, 70, &[0, 2]),
            ],
            window,
        }
    }

    #[test]
    fn a_first_branch_goes_on_where_its_prompt_ends() {
        let tiles = queries(&fork(None)).tiles;
        let want = [
            (part(0, 64, 0), vec![part(0, 64, 0)]),
            (part(64, 6, 64), vec![part(0, 70, 0)]),
            (part(70, 5, 70), vec![part(0, 75, 0)]),
            (part(75, 5, 70), vec![part(0, 70, 0), part(75, 5, 70)]),
        ];
        assert_eq!(tiles, want);
    }

    #[test]
    fn readers_are_every_row_from_the_tile_on() {
        let tiles = keys(&fork(None)).tiles;
        let want = [
            (part(0, 64, 0), vec![part(0, 75, 0), part(75, 5, 70)]),
            (part(64, 6, 64), vec![part(64, 11, 64), part(75, 5, 70)]),
            (part(70, 5, 70), vec![part(70, 5, 70)]),
            (part(75, 5, 70), vec![part(75, 5, 70)]),
        ];
        assert_eq!(tiles, want);
    }

    #[test]
    fn a_window_drops_what_no_row_of_the_tile_sees() {
        let layout = fork(Some(8));
        assert_eq!(
            queries(&layout).tiles[3],
            (part(75, 5, 70), vec![part(63, 7, 63), part(75, 5, 70)])
        );
        // The last key of the first tile, at 63, is seen up to position 70.
        assert_eq!(
            keys(&layout).tiles[0],
            (part(0, 64, 0), vec![part(0, 71, 0), part(75, 1, 70)])
        );
    }
}
