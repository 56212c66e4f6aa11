//! TRL's rule (`kto_trainer.py`, `add_kl_completion_ids`, TRL 1.16), for trajectories equal to its own.
//!
//! Rows stand in fixed groups of the micro-batch's size in data order; within a group x_i meets y_{i−1}, and the first
//! meets the last. Nothing is checked: a sibling, identical text, and in a last group of one the row itself, are paired
//! as TRL pairs them.

/// For each row of one group (record indices in data order) the record whose completion its prompt meets.
pub fn pair(group: &[usize]) -> Vec<usize> {
    let mut paired = group.to_vec();
    paired.rotate_right(usize::from(!group.is_empty()));
    paired
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_prompt_meets_the_completion_before_it() {
        assert_eq!(pair(&[10, 11, 12, 13]), [13, 10, 11, 12]);
        assert_eq!(pair(&[14]), [14]);
        assert_eq!(pair(&[]), [0usize; 0]);
    }
}
