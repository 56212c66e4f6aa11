//! HALOs' rule (`train/dataloader.py`): within a micro-batch x_i meets y_{i+1}, and the last meets the first.
//!
//! Nothing is checked, as there: a sibling, identical text, and in a group of one the row itself, are paired too.

/// For each row of one group (record indices) the record whose completion its prompt meets.
pub fn pair(group: &[usize]) -> Vec<usize> {
    let mut paired = group.to_vec();
    paired.rotate_left(usize::from(!group.is_empty()));
    paired
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_prompt_meets_the_completion_after_it() {
        assert_eq!(pair(&[10, 11, 12, 13]), [11, 12, 13, 10]);
        assert_eq!(pair(&[14]), [14]);
        assert_eq!(pair(&[]), [0usize; 0]);
    }
}
