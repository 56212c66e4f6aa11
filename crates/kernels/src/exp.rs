//! eˣ in f32 as straight-line arithmetic, so that loops over it vectorise.

use crate::simd::mul_add;

/// eˣ, within 2 ulp for results in the normal range; 0 below −87.3 (no subnormals), +∞ above 88.7; NaN stays NaN.
///
/// Cody and Waite reduction x = n·ln 2 + r, |r| ≤ ln 2 / 2; e^r by the degree-5 minimax polynomial of Cephes' `expf`.
#[inline(always)]
pub(crate) fn exp<const FMA: bool>(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts: n·HIGH is exact for |n| < 2^9.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding 1.5·2^23 rounds to an integer and leaves it in the low bits: no conversion instruction needed.
    const ROUND: f32 = 12_582_912.0;

    let clamped = x.clamp(-88.0, 89.0);
    let shifted = mul_add::<FMA>(clamped, LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = mul_add::<FMA>(n, -LN2_HIGH, clamped);
    let r = mul_add::<FMA>(n, -LN2_LOW, r);
    let mut p = 1.987_569_1e-4;
    p = mul_add::<FMA>(p, r, 1.398_199_9e-3);
    p = mul_add::<FMA>(p, r, 8.333_452e-3);
    p = mul_add::<FMA>(p, r, 4.166_579_6e-2);
    p = mul_add::<FMA>(p, r, 1.666_666_5e-1);
    p = mul_add::<FMA>(p, r, 0.5);
    let p = mul_add::<FMA>(p, r * r, r) + 1.0;
    // 2^n in two factors: n may be 128 (overflow) or −127 (underflow), each half is in range.
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let half = n >> 1;
    let a = f32::from_bits(((half + 127) as u32) << 23);
    let b = f32::from_bits(((n - half + 127) as u32) << 23);
    let y = p * a * b;
    if x < -87.3 { 0.0 } else { y }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ulps(x: f32) -> f64 {
        let want = f64::from(x).exp();
        let unit = f64::from(f32::from_bits((want as f32).to_bits() + 1)) - f64::from(want as f32);
        (f64::from(exp::<true>(x)) - want)
            .abs()
            .max((f64::from(exp::<false>(x)) - want).abs())
            / unit
    }

    #[test]
    fn exp_is_within_two_ulp_where_its_result_is_normal() {
        let worst = (0..2_000_000)
            .map(|i| ulps(-87.0 + 175.0 * (i as f32 / 2_000_000.0)))
            .fold(0.0, f64::max);
        assert!(worst < 2.0, "{worst} ulp");
    }

    #[test]
    fn exp_is_right_at_the_edges() {
        for x in [0.0, -0.0] {
            assert_eq!(exp::<true>(x), 1.0);
        }
        assert_eq!(exp::<true>(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp::<true>(-100.0), 0.0);
        assert_eq!(exp::<true>(100.0), f32::INFINITY);
        assert_eq!(exp::<true>(f32::INFINITY), f32::INFINITY);
        assert!(exp::<true>(f32::NAN).is_nan());
        assert!(exp::<false>(f32::NAN).is_nan());
    }
}
