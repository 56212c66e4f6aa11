//! The cache on a GPU: one buffer for all sequences, which doubles when the longest outgrows it.

use std::ops::Range;

use halo_kernels::attention::Shape;
use halo_kernels::gpu::Slice;
use halo_kernels::gpu::attention::{Caches, append, cached};

use crate::Result;
use crate::ops::Indices;

/// Tokens that a fresh cache has room for beyond the longest prompt.
const ROOM: usize = 64;

pub(crate) struct OnGpu {
    /// (slots, capacity, K·E) each.
    caches: Caches,
    /// The slot of each sequence.
    slots: Vec<u32>,
    /// The same on the device, from the first step after a change.
    uploaded: Option<Slice>,
    width: usize,
}

impl OnGpu {
    pub(super) fn of_rows(
        k: &Slice,
        v: &Slice,
        rows: &[Range<usize>],
        width: usize,
    ) -> Result<OnGpu> {
        let longest = rows.iter().map(Range::len).max().unwrap_or(0);
        let caches = room(k, rows.len(), longest + ROOM, width)?;
        for (slot, rows) in rows.iter().enumerate() {
            for (to, from) in [(&caches.k, k), (&caches.v, v)] {
                to.narrow(slot * caches.capacity * width, rows.len() * width)?
                    .copy_from(&from.narrow(rows.start * width, rows.len() * width)?)?;
            }
        }
        Ok(OnGpu {
            caches,
            slots: (0..rows.len() as u32).collect(),
            uploaded: None,
            width,
        })
    }

    pub(super) fn keep(&mut self, sequences: &[usize]) {
        self.slots = sequences.iter().map(|&s| self.slots[s]).collect();
        self.uploaded = None;
    }

    pub(super) fn attend(
        &mut self,
        [q, k, v, o]: [&Slice; 4],
        lengths: &Indices,
        window: Option<usize>,
        shape: &Shape,
    ) -> Result<()> {
        let longest = lengths.host().iter().max().map_or(0, |&l| l as usize);
        if longest >= self.caches.capacity {
            self.grow(lengths.host(), 2 * longest)?;
        }
        let slots = match self.uploaded.take() {
            Some(slots) => slots,
            None => q.gpu().upload_u32(&self.slots)?,
        };
        let lengths = lengths.slice()?;
        append(k, v, &self.caches, lengths, &slots, shape)?;
        cached(q, &self.caches, lengths, &slots, o, window, shape)?;
        self.uploaded = Some(slots);
        Ok(())
    }

    /// Moves the sequences that are left into a larger buffer.
    fn grow(&mut self, lengths: &[u32], capacity: usize) -> Result<()> {
        let width = self.width;
        let larger = room(&self.caches.k, self.slots.len(), capacity, width)?;
        for (new, (&old, &length)) in self.slots.iter().zip(lengths).enumerate() {
            let len = length as usize * width;
            for (to, from) in [(&larger.k, &self.caches.k), (&larger.v, &self.caches.v)] {
                let from = from.narrow(old as usize * self.caches.capacity * width, len)?;
                to.narrow(new * capacity * width, len)?.copy_from(&from)?;
            }
        }
        self.caches = larger;
        self.slots = (0..self.slots.len() as u32).collect();
        self.uploaded = None;
        Ok(())
    }
}

fn room(like: &Slice, slots: usize, capacity: usize, width: usize) -> Result<Caches> {
    let alloc = || like.gpu().alloc(like.dtype(), slots * capacity * width);
    Ok(Caches {
        k: alloc()?,
        v: alloc()?,
        capacity,
    })
}
