//! A pack as the decoder executes it: token ids, positions, rotary table and attention layouts.

use std::collections::BTreeMap;
use std::ops::Range;

use halo_kernels::attention::{Layout, Seg};
use halo_train::Pack;

use super::config::DecoderConfig;
use crate::Result;
use crate::device::Device;
use crate::ops::{Indices, attention, rope};

/// Rows to run through the blocks, and who attends to whom.
pub(crate) struct View {
    pub(crate) ids: Indices,       // (N)
    pub(crate) positions: Indices, // (N)
    pub(crate) grad_rows: usize,
    pub(crate) rope: rope::Table,
    /// Segments that carry gradient; they stand first.
    grad_segments: usize,
    /// By window, which differs from block to block in some models.
    layouts: BTreeMap<Option<usize>, attention::Layout>,
}

impl View {
    /// The view of a training pack.
    pub(crate) fn of_pack(pack: &Pack, config: &DecoderConfig, device: &Device) -> Result<View> {
        let mut trees = Vec::with_capacity(pack.segments.len());
        let mut segments = Vec::with_capacity(pack.segments.len());
        for (index, segment) in pack.segments.iter().enumerate() {
            let tree = segment
                .parent
                .map_or(index, |parent| trees[parent as usize]);
            trees.push(tree);
            segments.push(Seg {
                rows: segment.rows.start as usize..segment.rows.end as usize,
                pos0: segment.pos0 as usize,
                kv: pack.kv[index].iter().map(|&k| k as usize).collect(),
                tree,
            });
        }
        let grad = pack.segments.iter().filter(|segment| segment.grad).count();
        Self::new(
            pack.tokens.clone(),
            pack.positions.clone(),
            pack.grad_rows as usize,
            segments,
            grad,
            config,
            device,
        )
    }

    /// Whole sequences side by side, without gradient: the prompts of a generation.
    pub(crate) fn of_prompts(
        prompts: &[&[u32]],
        config: &DecoderConfig,
        device: &Device,
    ) -> Result<(View, Vec<Range<usize>>)> {
        let (mut ids, mut positions, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        for prompt in prompts {
            rows.push(ids.len()..ids.len() + prompt.len());
            ids.extend_from_slice(prompt);
            positions.extend(0..prompt.len() as u32);
        }
        let segments = rows
            .iter()
            .enumerate()
            .map(|(index, rows)| Seg {
                rows: rows.clone(),
                pos0: 0,
                kv: vec![index],
                tree: index,
            })
            .collect();
        let view = Self::new(ids, positions, 0, segments, 0, config, device)?;
        Ok((view, rows))
    }

    fn new(
        ids: Vec<u32>,
        positions: Vec<u32>,
        grad_rows: usize,
        segments: Vec<Seg>,
        grad_segments: usize,
        config: &DecoderConfig,
        device: &Device,
    ) -> Result<View> {
        let longest = positions
            .iter()
            .max()
            .map_or(1, |&position| position as usize + 1);
        let mut layouts = BTreeMap::new();
        for &window in &config.sliding_window {
            layouts.entry(window).or_insert_with(|| {
                let segments = segments.clone();
                attention::Layout::new(device, Layout { segments, window })
            });
        }
        Ok(View {
            ids: Indices::new(device, ids)?,
            positions: Indices::new(device, positions)?,
            grad_rows,
            rope: rope::Table::new(device, &config.inv_freq, longest)?,
            grad_segments,
            layouts,
        })
    }

    /// Narrows the view to the rows that carry gradient, for backward and recompute.
    pub(crate) fn keep_gradient_rows(&mut self) -> Result<()> {
        self.ids.truncate(self.grad_rows)?;
        self.positions.truncate(self.grad_rows)?;
        for layout in self.layouts.values_mut() {
            layout.truncate(self.grad_segments);
        }
        Ok(())
    }

    /// The layout for a block with this window.
    pub(crate) fn layout(&self, window: Option<usize>) -> &attention::Layout {
        // `new` made one entry for every window of the configuration.
        &self.layouts[&window]
    }
}
