//! Tiles: a run of query tokens with all query heads of one key/value head, against a run of keys of one segment.
//!
//! A tile's rows are (token, query head of the group): for each token the group's heads lie side by side in q and o, so a
//! tile is gathered by one copy per token.

use super::{Layout, Shape};
use crate::Error;
use crate::matmul::Mat;
use crate::simd::LANES;
use std::ops::Range;

/// Rows of a query tile, about.
const ROWS: usize = 192;

/// Keys of a key tile; a multiple of [`LANES`].
pub(super) const KEYS: usize = 256;

/// Length of a row of `keys` scores in memory: whole lanes, so that loops over a row have no rest.
pub(super) fn stride(keys: usize) -> usize {
    keys.next_multiple_of(LANES)
}

/// Some tokens of one segment.
#[derive(Clone, Debug)]
pub(super) struct Queries {
    /// Segment.
    pub(super) segment: usize,
    /// Rows of the pack.
    pub(super) rows: Range<usize>,
    /// Position of the first row.
    pub(super) position: usize,
}

/// Keys of one segment that some query of a tile sees.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// Segment.
    pub(super) segment: usize,
    /// Rows of the pack.
    pub(super) rows: Range<usize>,
    /// Position of the first row.
    pub(super) position: usize,
}

/// Tokens of a query tile: at most this many.
pub(super) fn tokens(shape: &Shape) -> usize {
    (ROWS / shape.group()).max(8)
}

/// The query tiles of segment `s`.
pub(super) fn queries(
    layout: &Layout,
    s: usize,
    tokens: usize,
) -> impl Iterator<Item = Queries> + '_ {
    let seg = &layout.segments[s];
    seg.rows.clone().step_by(tokens).map(move |first| Queries {
        segment: s,
        rows: first..(first + tokens).min(seg.rows.end),
        position: seg.pos0 + first - seg.rows.start,
    })
}

/// The key tiles that `queries` attend to; those wholly masked are left out.
pub(super) fn keys<'a>(layout: &'a Layout, queries: &Queries) -> impl Iterator<Item = Keys> + 'a {
    let first = queries.position;
    let end = first + queries.rows.len();
    let horizon = layout.window.map_or(0, |w| (first + 1).saturating_sub(w));
    layout.segments[queries.segment]
        .kv
        .iter()
        .flat_map(move |&a| {
            let seg = &layout.segments[a];
            let from = horizon.saturating_sub(seg.pos0).min(seg.rows.len());
            let to = end.saturating_sub(seg.pos0).min(seg.rows.len());
            (from..to).step_by(KEYS).map(move |i| Keys {
                segment: a,
                rows: seg.rows.start + i..seg.rows.start + (i + KEYS).min(to),
                position: seg.pos0 + i,
            })
        })
}

/// Query–key pairs of a tile row of work, to balance tasks.
pub(super) fn cost(layout: &Layout, queries: &Queries) -> usize {
    queries.rows.len() * keys(layout, queries).map(|k| k.rows.len()).sum::<usize>()
}

/// Which keys of a tile each row sees: a range, because positions in a segment are consecutive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mask {
    pub(super) query: usize,
    pub(super) key: usize,
    pub(super) keys: usize,
    pub(super) group: usize,
    pub(super) window: usize,
}

impl Mask {
    pub(super) fn new(layout: &Layout, queries: &Queries, keys: &Keys, shape: &Shape) -> Mask {
        Mask {
            query: queries.position,
            key: keys.position,
            keys: keys.rows.len(),
            group: shape.group(),
            window: layout.window.unwrap_or(usize::MAX),
        }
    }

    /// The keys of the tile that tile row `row` sees; may be empty.
    #[inline(always)]
    pub(super) fn visible(&self, row: usize) -> Range<usize> {
        let position = self.query + row / self.group;
        let to = (position + 1).saturating_sub(self.key).min(self.keys);
        let from = (position + 1)
            .saturating_sub(self.window)
            .saturating_sub(self.key)
            .min(to);
        from..to
    }

    /// Writes −∞ over the scores that tile row `row` does not see, the padding of the row included. False if it sees none.
    #[inline(always)]
    pub(super) fn hide(&self, row: usize, scores: &mut [f32]) -> bool {
        let visible = self.visible(row);
        scores[..visible.start].fill(f32::NEG_INFINITY);
        scores[visible.end..].fill(f32::NEG_INFINITY);
        !visible.is_empty()
    }
}

/// Copies the rows of one key/value head's group from `source` (N, H, E) into a tile (tokens · G, E).
pub(super) fn gather(
    source: &[f32],
    rows: Range<usize>,
    head: usize,
    shape: &Shape,
    tile: &mut [f32],
) {
    let width = shape.group() * shape.head_dim;
    for (tile, row) in tile.chunks_exact_mut(width).zip(rows) {
        tile.copy_from_slice(&source[row * shape.q_width() + head * width..][..width]);
    }
}

/// The rows of one key/value head in k or v (N, K, E), as a strided matrix (keys, E).
pub(super) fn head_of<'a>(
    source: &'a [f32],
    rows: &Range<usize>,
    head: usize,
    shape: &Shape,
) -> Result<Mat<'a>, Error> {
    let from = rows.start * shape.kv_width() + head * shape.head_dim;
    Mat::strided(
        &source[from..],
        rows.len(),
        shape.head_dim,
        shape.kv_width(),
        1,
    )
}
