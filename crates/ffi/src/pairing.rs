//! Whose completion stands in as y' for which prompt.

use halo_train::pairing::rotate::rotate;
use halo_train::rng::Rng;

use crate::failure::Failure;
use crate::guard::guard;
use crate::status::*;

/// For each row the row whose completion its prompt meets as y', for the reference point: partner[i], always of another group.
/// Rows of one group have the same prompt or identical completions; NULL = every row is a group of its own. partner[i] = i says
/// that there is none: leave the row out.
///
/// The rows are put into an order drawn from the seed (0: as they are), and rotated by the smallest distance that suits all;
/// where none does, each row takes the nearest that suits it.
///
/// @since 0.1
/// @null group
/// @len group rows
/// @len partner rows
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halo_pairing_draw(
    rows: usize,
    group: *const u64,
    seed: u64,
    partner: *mut u32,
    err: *mut halo_error,
) -> halo_status {
    // SAFETY: the caller keeps the header's rules.
    unsafe {
        guard(err, |host| {
            if rows > u32::MAX as usize {
                let message = format!("rows = {rows} is more than 2^32 - 1");
                return Err(Failure::new(HALO_E_SHAPE, "rows", message).argument(0));
            }
            let group = host.column(1, "group", group, rows)?;
            let out = host.outs(3, "partner", partner, rows)?;
            if rows > 0 && !out.wanted() {
                let failure = Failure::new(HALO_E_INVALID_ARGUMENT, "partner", "partner is NULL");
                return Err(failure.argument(3));
            }
            out.write(draw(rows, group, seed));
            Ok(())
        })
    }
}

fn draw(rows: usize, group: Option<&[u64]>, seed: u64) -> Vec<u32> {
    let mut order: Vec<usize> = (0..rows).collect();
    if seed != 0 {
        Rng::new(seed).shuffle(&mut order);
    }
    let suits = |a: usize, b: usize| match group {
        Some(group) => group[order[a]] != group[order[b]],
        None => a != b,
    };
    let mut partner = vec![0; rows];
    for (at, met) in rotate(rows, suits).into_iter().enumerate() {
        partner[order[at]] = order[met.unwrap_or(at)] as u32;
    }
    partner
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partners_are_of_another_group_and_a_permutation_where_they_can_be() {
        for seed in 0..50 {
            let mut rng = Rng::new(seed);
            let group: Vec<u64> = (0..40).map(|_| rng.below(5)).collect();
            let partner = draw(40, Some(&group), seed);
            assert!((0..40).all(|i| group[i] != group[partner[i] as usize]));
        }
        let mut alone = draw(17, None, 3);
        assert!(alone.iter().enumerate().all(|(i, met)| i != *met as usize));
        alone.sort_unstable();
        assert!(alone.iter().enumerate().all(|(i, met)| i == *met as usize));
    }

    #[test]
    fn a_seed_draws_and_zero_does_not() {
        assert_eq!(draw(4, None, 0), [1, 2, 3, 0]);
        assert_eq!(draw(9, None, 5), draw(9, None, 5));
        assert_ne!(draw(9, None, 5), draw(9, None, 6));
    }

    #[test]
    fn who_has_no_partner_meets_himself() {
        assert_eq!(draw(3, Some(&[7, 7, 7]), 0), [0, 1, 2]);
        assert_eq!(draw(1, None, 9), [0]);
        assert_eq!(draw(0, None, 9), [0u32; 0]);
    }
}
