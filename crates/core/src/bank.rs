//! The bank: every trainable parameter in one flat buffer, and its gradient in another.
//!
//! Clipping, all-reduce, checkpoints and AdamW are loops over one slice. A frozen parameter has no slot, so its gradient is never
//! computed; tied weights share one slot.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::array::Array;
use crate::device::{Dtype, Placement};
use crate::ops::elementwise;
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
    params: Array,
    grads: Array,
    /// The parameters as the model computes with them, where it does so in bf16.
    rounded: Option<Array>,
    touched: Vec<AtomicBool>,
}

impl Bank {
    /// A zeroed bank for parameters of the given names, shapes and decay flags.
    ///
    /// # Errors
    /// Too little memory on the device.
    pub fn new(
        specs: impl IntoIterator<Item = (String, Vec<usize>, bool)>,
        placement: &Placement,
    ) -> Result<Bank> {
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
        let zeros = |dtype| Array::zeros(placement.device(), dtype, [len]);
        Ok(Bank {
            touched: entries.iter().map(|_| AtomicBool::new(false)).collect(),
            params: zeros(Dtype::F32)?,
            grads: zeros(Dtype::F32)?,
            rounded: match placement.dtype() {
                Dtype::F32 => None,
                Dtype::Bf16 => Some(zeros(Dtype::Bf16)?),
            },
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

    /// The parameter as the model computes with it, and its f32 master where that is another: views, so that an optimiser step
    /// changes what the model sees. Vectors (norms, biases) are always computed with in f32.
    pub(crate) fn view(&self, slot: Slot) -> Result<(Array, Option<Array>)> {
        let entry = &self.entries[slot.0];
        let part = |flat: &Array| flat.part(entry.range.clone(), entry.shape.as_slice());
        let master = part(&self.params)?;
        match &self.rounded {
            Some(rounded) if entry.shape.len() > 1 => Ok((part(rounded)?, Some(master))),
            _ => Ok((master, None)),
        }
    }

    /// A parameter's gradient in f32, to be added to; the only door to it.
    pub(crate) fn gradient(&self, slot: Slot) -> Result<Array> {
        self.touched[slot.0].store(true, Ordering::Relaxed);
        let entry = &self.entries[slot.0];
        self.grads.part(entry.range.clone(), entry.shape.as_slice())
    }

    /// Sets every gradient to zero and forgets which were touched.
    ///
    /// # Errors
    /// Those of the device.
    pub fn clear(&self) -> Result<()> {
        self.touched
            .iter()
            .for_each(|flag| flag.store(false, Ordering::Relaxed));
        self.grads.clear()
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
    /// Those of the device.
    pub fn gradients(&self) -> Result<Vec<f32>> {
        self.grads.to_vec()
    }

    /// The flat f32 parameters, their gradients, and what the model computes with if that is another: for the optimiser.
    pub(crate) fn flat(&self) -> (&Array, &Array, Option<&Array>) {
        (&self.params, &self.grads, self.rounded.as_ref())
    }

    /// Changes the flat parameters on the host: in place on the CPU, there and back elsewhere.
    ///
    /// # Errors
    /// That of `work`.
    pub fn edit_params(&self, work: impl FnOnce(&mut [f32]) -> Result<()>) -> Result<()> {
        self.params.edit_host(work)?;
        match &self.rounded {
            Some(rounded) => elementwise::convert(&self.params, rounded),
            None => Ok(()),
        }
    }
}
