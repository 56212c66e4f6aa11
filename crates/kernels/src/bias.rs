//! The bias of a linear layer.

use crate::Error;
use crate::error::length;
use rayon::prelude::*;

/// Columns of one backward task: fixed, so that sums do not depend on scheduling.
const COLUMNS: usize = 64;

/// y += b on every row: y (N, O), b (O).
///
/// # Errors
/// Slices that do not fit n and o.
pub fn add(y: &mut [f32], b: &[f32], n: usize, o: usize) -> Result<(), Error> {
    length("bias::add", "y", y.len(), n * o)?;
    length("bias::add", "b", b.len(), o)?;
    if o > 0 {
        y.par_chunks_mut(o)
            .for_each(|row| row.iter_mut().zip(b).for_each(|(y, b)| *y += b));
    }
    Ok(())
}

/// db += Σ rows of dy: dy (N, O), db (O).
///
/// # Errors
/// Slices that do not fit n and o.
pub fn accumulate(dy: &[f32], db: &mut [f32], n: usize, o: usize) -> Result<(), Error> {
    length("bias::accumulate", "dy", dy.len(), n * o)?;
    length("bias::accumulate", "db", db.len(), o)?;
    db.par_chunks_mut(COLUMNS)
        .enumerate()
        .for_each(|(chunk, db)| {
            let mut sum = [0f64; COLUMNS];
            for row in dy.chunks_exact(o) {
                let row = &row[chunk * COLUMNS..][..db.len()];
                sum.iter_mut()
                    .zip(row)
                    .for_each(|(sum, dy)| *sum += f64::from(*dy));
            }
            db.iter_mut()
                .zip(sum)
                .for_each(|(db, sum)| *db += sum as f32);
        });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backward_is_the_transpose_of_forward() {
        let (n, o) = (5, 130);
        let dy: Vec<f32> = (0..n * o).map(|i| (i as f32 * 0.37).sin()).collect();
        let b: Vec<f32> = (0..o).map(|i| (i as f32 * 0.91).cos()).collect();
        let mut y = vec![0f32; n * o];
        add(&mut y, &b, n, o).unwrap();
        let mut db = vec![0f32; o];
        accumulate(&dy, &mut db, n, o).unwrap();
        let left: f64 = y.iter().zip(&dy).map(|(y, dy)| f64::from(y * dy)).sum();
        let right: f64 = b.iter().zip(&db).map(|(b, db)| f64::from(b * db)).sum();
        assert!((left - right).abs() < 1e-4, "{left} {right}");
    }

    #[test]
    fn a_slice_of_the_wrong_length_is_named() {
        let error = add(&mut [0.0; 5], &[0.0; 2], 3, 2).unwrap_err();
        assert!(error.to_string().contains('y'), "{error}");
    }
}
