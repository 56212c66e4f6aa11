//! The cache on a GPU: one buffer for all sequences, which doubles when the longest outgrows it.

use std::ops::Range;

use halo_kernels::attention::Shape;
use halo_kernels::gpu::Slice;
use halo_kernels::gpu::attention::{Caches, append, cached};

use crate::Result;

/// Tokens that a fresh cache has room for beyond the longest prompt.
const ROOM: usize = 64;

pub(crate) struct OnGpu {
    /// (slots, capacity, K·E) each.
    caches: Caches,
    /// The slot of each sequence.
    slots: Vec<u32>,
    /// Tokens of each sequence so far.
    lengths: Vec<u32>,
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
            lengths: rows.iter().map(|rows| rows.len() as u32).collect(),
            width,
        })
    }

    pub(super) fn keep(&mut self, sequences: &[usize]) {
        self.slots = sequences.iter().map(|&s| self.slots[s]).collect();
        self.lengths = sequences.iter().map(|&s| self.lengths[s]).collect();
    }

    pub(super) fn attend(
        &mut self,
        q: &Slice,
        k: &Slice,
        v: &Slice,
        o: &Slice,
        window: Option<usize>,
        shape: &Shape,
    ) -> Result<()> {
        let longest = self
            .lengths
            .iter()
            .max()
            .map_or(0, |&length| length as usize);
        if longest >= self.caches.capacity {
            self.grow(2 * longest)?;
        }
        let lengths = q.gpu().upload_u32(&self.lengths)?;
        let slots = q.gpu().upload_u32(&self.slots)?;
        append(k, v, &self.caches, &lengths, &slots, shape)?;
        cached(q, &self.caches, &lengths, &slots, o, window, shape)?;
        self.lengths.iter_mut().for_each(|length| *length += 1);
        Ok(())
    }

    /// Moves the sequences that are left into a larger buffer.
    fn grow(&mut self, capacity: usize) -> Result<()> {
        let width = self.width;
        let larger = room(&self.caches.k, self.slots.len(), capacity, width)?;
        for (new, (&old, &length)) in self.slots.iter().zip(&self.lengths).enumerate() {
            let len = length as usize * width;
            for (to, from) in [(&larger.k, &self.caches.k), (&larger.v, &self.caches.v)] {
                let from = from.narrow(old as usize * self.caches.capacity * width, len)?;
                to.narrow(new * capacity * width, len)?.copy_from(&from)?;
            }
        }
        self.caches = larger;
        self.slots = (0..self.slots.len() as u32).collect();
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
