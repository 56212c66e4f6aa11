use crate::support::*;
use halo_kernels::rope::{RopeTable, apply, apply_transposed, naive};

fn frequencies(half: usize) -> Vec<f32> {
    (0..half)
        .map(|i| 10000f64.powf(-(i as f64) / half as f64) as f32)
        .collect()
}

#[test]
fn rows_turn_by_their_position_in_the_halves_layout() {
    let mut rng = Rng(6);
    for (n, heads, half) in [(1, 1, 1), (5, 3, 4), (130, 2, 32), (70, 6, 20)] {
        let table = RopeTable::new(&frequencies(half), 300);
        let positions = rng.indices(n, 300);
        let x = rng.vec(n * heads * 2 * half, 1.0);
        let mut got = x.clone();
        apply(&mut got, heads, &positions, &table).unwrap();
        let mut want = wide(&x);
        for (r, &p) in positions.iter().enumerate() {
            let angles: Vec<f64> = frequencies(half)
                .iter()
                .map(|f| f64::from(p as f32 * f))
                .collect();
            let cos: Vec<f64> = angles.iter().map(|a| a.cos()).collect();
            let sin: Vec<f64> = angles.iter().map(|a| a.sin()).collect();
            for head in want[r * heads * 2 * half..][..heads * 2 * half].chunks_mut(2 * half) {
                naive(head, &cos, &sin, 1.0);
            }
        }
        close("x", &got, &want, 1e-6);
        apply_transposed(&mut got, heads, &positions, &table).unwrap();
        // A rotation's transpose is its inverse.
        close("round trip", &got, &wide(&x), 1e-6);
    }
}

#[test]
fn a_position_outside_the_table_is_named() {
    let table = RopeTable::new(&frequencies(2), 4);
    let error = apply(&mut [0.0; 8], 1, &[3, 4], &table).unwrap_err();
    assert_eq!(
        error.to_string(),
        "rope::apply: positions[1] = 4 is outside 0..4"
    );
}
