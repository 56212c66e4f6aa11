//! The common case made cheap: value and gradient of rows that stand in the loss's order, block by block, on several threads
//! where there are many. The numbers are those of the whole to the bit.

use std::cell::RefCell;

use ::halo_loss::{Blocks, DataShape, Loss, Row};
use rayon::prelude::*;

use crate::batch::Columns;
use crate::failure::Outcome;
use crate::pool;

/// Rows of a block: what fits a core's cache.
const BLOCK: usize = 1024;
/// Rows from which on threads pay.
const MANY: usize = 16 * BLOCK;

/// Buffers that a thread keeps: small batches come by the million.
#[derive(Default)]
struct Scratch {
    rows: Vec<Row>,
    values: Vec<f64>,
    slopes: Vec<f64>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Calls `finish` with the loss of a batch and dL/dlogp of its rows. None where the whole has to be looked at: rows that are not
/// in the loss's order, a loss of tokens, a batch that is refused (the whole says why).
///
/// # Errors
/// The system gives no threads.
pub(super) fn evaluate<T>(
    loss: &Loss,
    columns: &Columns,
    finish: impl FnOnce(f64, &[f64]) -> T,
) -> Outcome<Option<T>> {
    let count = columns.batch.rows;
    if count == 0 || !in_order(loss, columns) {
        return Ok(None);
    }
    let Ok(norm) = columns.normalizer(|| columns.counts(loss)) else {
        return Ok(None);
    };
    let Ok(Some(blocks)) = Blocks::new(loss, &norm) else {
        return Ok(None);
    };
    if count < MANY {
        return Ok(SCRATCH.with_borrow_mut(|scratch| {
            scratch.fill(columns, 0, count);
            let Scratch {
                rows,
                values,
                slopes,
            } = scratch;
            blocks.block(rows, values, slopes).ok()?;
            Some(finish(
                values.iter().sum::<f64>() / blocks.divisor(),
                slopes,
            ))
        }));
    }
    let units = count / loss.rows_per_unit();
    let (mut values, mut slopes) = (vec![0.0; units], vec![0.0; count]);
    let done = pool::run(|| {
        let of_values = values.par_chunks_mut(BLOCK / loss.rows_per_unit());
        let all = slopes.par_chunks_mut(BLOCK).zip(of_values).enumerate();
        Ok(all.try_for_each(|(index, (slopes, values))| {
            SCRATCH.with_borrow_mut(|scratch| {
                scratch.fill(columns, index * BLOCK, slopes.len());
                let (rows, to) = (&scratch.rows, (&mut scratch.values, &mut scratch.slopes));
                blocks.block(rows, to.0, to.1).ok()?;
                values.copy_from_slice(to.0);
                slopes.copy_from_slice(to.1);
                Some(())
            })
        }))
    })?;
    // in the order of the rows, as one thread would
    Ok(done.map(|()| finish(values.iter().sum::<f64>() / blocks.divisor(), &slopes)))
}

impl Scratch {
    fn fill(&mut self, columns: &Columns, first: usize, count: usize) {
        self.rows.clear();
        self.rows
            .extend((first..first + count).map(|row| columns.row(row)));
    }
}

/// Whether the host's rows are the loss's rows, one by one.
fn in_order(loss: &Loss, columns: &Columns) -> bool {
    let Columns {
        role, group, label, ..
    } = columns;
    let in_turn = |group: &[u64]| {
        let pairs = group.as_chunks::<2>().0;
        pairs.iter().all(|[a, b]| a == b) && pairs.windows(2).all(|two| two[0][0] < two[1][0])
    };
    let advantages = loss.advantage().is_none() || columns.advantage.is_some();
    let ordered = match loss.data_shape() {
        DataShape::Paired => {
            let labels = label
                .is_some_and(|label| label.as_chunks::<2>().0.iter().all(|two| *two == [1, -1]));
            labels && columns.batch.rows.is_multiple_of(2) && group.is_none_or(in_turn)
        }
        _ => true,
    };
    role.is_none() && advantages && ordered && columns.require(loss).is_ok()
}
