//! The bank: every trainable parameter in one flat buffer, and its gradient in another.
//!
//! Clipping, all-reduce, checkpoints and AdamW are loops over one slice. A frozen parameter has no slot, so its gradient is never
//! computed; tied weights share one slot.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::Tensor;

use crate::storage::{self, Values};
use crate::{Error, Result};

/// Where a trainable parameter stands in the bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(usize);

/// One trainable parameter's place, name and shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the checkpoint.
    pub name: String,
    /// Its shape in the checkpoint.
    pub shape: Vec<usize>,
    /// Whether weight decay applies: not to norms and biases, as in transformers.
    pub decay: bool,
    /// Its values within the flat buffers.
    pub range: Range<usize>,
}

/// All trainable parameters and their gradients: two flat f32 buffers, ordered by name.
#[derive(Debug)]
pub struct Bank {
    entries: Vec<Entry>,
    params: Tensor,
    grads: Tensor,
    touched: Vec<AtomicBool>,
}

impl Bank {
    /// A zeroed bank for parameters of the given names, shapes and decay flags.
    pub fn new(specs: impl IntoIterator<Item = (String, Vec<usize>, bool)>) -> Result<Bank> {
        let mut specs: Vec<_> = specs.into_iter().collect();
        specs.sort();
        let mut entries = Vec::with_capacity(specs.len());
        let mut len = 0;
        for (name, shape, decay) in specs {
            let size = shape.iter().product::<usize>();
            entries.push(Entry {
                name,
                shape,
                decay,
                range: len..len + size,
            });
            len += size;
        }
        Ok(Bank {
            touched: entries.iter().map(|_| AtomicBool::new(false)).collect(),
            params: storage::tensor(vec![0f32; len], len)?,
            grads: storage::tensor(vec![0f32; len], len)?,
            entries,
        })
    }

    /// The parameters, ordered by name.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many numbers are trained.
    pub fn len(&self) -> usize {
        self.entries.last().map_or(0, |entry| entry.range.end)
    }

    /// Whether nothing is trained.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The slot of a parameter, if it is trained.
    pub fn slot(&self, name: &str) -> Option<Slot> {
        self.entries
            .binary_search_by(|entry| entry.name.as_str().cmp(name))
            .ok()
            .map(Slot)
    }

    /// The parameter itself: a view, so that an optimiser step changes what the model sees.
    pub(crate) fn view(&self, slot: Slot) -> Result<Tensor> {
        let entry = &self.entries[slot.0];
        Ok(self
            .params
            .narrow(0, entry.range.start, entry.range.len())?
            .reshape(entry.shape.as_slice())?)
    }

    /// A copy of a parameter's values.
    pub(crate) fn values(&self, entry: &Entry) -> Result<Vec<f32>> {
        Ok(storage::values(&self.params)?[entry.range.clone()].to_vec())
    }

    /// Adds to a parameter's gradient; the only door to it.
    pub(crate) fn accumulate(
        &self,
        slot: Slot,
        add: impl FnOnce(&mut [f32]) -> Result<()>,
    ) -> Result<()> {
        self.touched[slot.0].store(true, Ordering::Relaxed);
        let range = self.entries[slot.0].range.clone();
        storage::edit(&self.grads, |grads| add(&mut grads[range]))
    }

    /// Sets every gradient to zero and forgets which were touched.
    ///
    /// # Errors
    /// None on the CPU.
    pub fn clear(&self) -> Result<()> {
        self.touched
            .iter()
            .for_each(|flag| flag.store(false, Ordering::Relaxed));
        storage::edit(&self.grads, |grads| {
            grads.fill(0.0);
            Ok(())
        })
    }

    /// Checks that backward reached every parameter since the last [`Bank::clear`].
    ///
    /// # Errors
    /// The first parameter without a gradient: a cut in backward, which would otherwise train silently wrong.
    pub fn check_touched(&self) -> Result<()> {
        match self
            .touched
            .iter()
            .position(|flag| !flag.load(Ordering::Relaxed))
        {
            None => Ok(()),
            Some(index) => Err(Error::internal(format!(
                "no gradient reached {}",
                self.entries[index].name
            ))),
        }
    }

    /// A copy of the flat gradients.
    ///
    /// # Errors
    /// None on the CPU.
    pub fn gradients(&self) -> Result<Vec<f32>> {
        Ok(self.grads()?.to_vec())
    }

    /// The flat gradients.
    pub(crate) fn grads(&self) -> Result<Values<'_>> {
        storage::values(&self.grads)
    }

    /// Changes the flat parameters in place: what an optimiser does.
    ///
    /// # Errors
    /// That of `work`.
    pub fn edit_params(&self, work: impl FnOnce(&mut [f32]) -> Result<()>) -> Result<()> {
        storage::edit(&self.params, work)
    }
}
