//! eˣ and tanh in f32 as straight-line arithmetic, so that loops over them vectorise.

use crate::simd::mul_add;

/// eˣ within 2 ulp for −87.33 ≤ x ≤ 88; 0 below, e⁸⁸ = 1.65e38 above; NaN stays NaN.
///
/// That is all that softmaxes (x ≤ 0) and sigmoids need. Cody and Waite reduction x = n·ln 2 + r, |r| ≤ ln 2 / 2; e^r by the
/// degree-7 polynomial of Cephes' `expf`; the exponent is added to the bits.
#[inline(always)]
pub(crate) fn exp<const FMA: bool>(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts: n·HIGH is exact for |n| < 2^9.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding 1.5·2^23 rounds to an integer and leaves it in the low bits: no conversion instruction needed.
    const ROUND: f32 = 12_582_912.0;
    // Just above −126·ln 2: the smallest result is normal.
    const LOW: f32 = -87.33;

    let clamped = x.clamp(LOW, 88.0);
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
    p = mul_add::<FMA>(p, r, 1.0);
    p = mul_add::<FMA>(p, r, 1.0);
    let y = f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23));
    if x < LOW { 0.0 } else { y }
}

/// tanh x within 3 ulp; NaN stays NaN.
///
/// Near 0 the odd polynomial of Cephes' `tanhf`, elsewhere 1 − 2 / (e^(2|x|) + 1) with the sign of x.
#[inline(always)]
pub(crate) fn tanh<const FMA: bool>(x: f32) -> f32 {
    let square = x * x;
    let mut p = -5.704_988_7e-3;
    p = mul_add::<FMA>(p, square, 2.063_909e-2);
    p = mul_add::<FMA>(p, square, -5.373_971_6e-2);
    p = mul_add::<FMA>(p, square, 1.333_144_2e-1);
    p = mul_add::<FMA>(p, square, -3.333_328e-1);
    let near = mul_add::<FMA>(p * square, x, x);
    let far = (1.0 - 2.0 / (exp::<FMA>(2.0 * x.abs()) + 1.0)).copysign(x);
    if x.abs() < 0.625 { near } else { far }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tanh_is_within_three_ulp() {
        let worst = (0..2_000_000)
            .map(|i| {
                let x = -12.0 + 24.0 * (i as f32 / 2_000_000.0);
                let want = f64::from(x).tanh();
                let size = (want as f32).abs().max(f32::MIN_POSITIVE);
                let unit = f64::from(f32::from_bits(size.to_bits() + 1)) - f64::from(size);
                (f64::from(tanh::<true>(x)) - want)
                    .abs()
                    .max((f64::from(tanh::<false>(x)) - want).abs())
                    / unit
            })
            .fold(0.0, f64::max);
        assert!(worst < 3.0, "{worst} ulp");
        for (x, y) in [(0.0, 0.0), (f32::INFINITY, 1.0), (f32::NEG_INFINITY, -1.0)] {
            assert_eq!(tanh::<true>(x), y);
        }
        assert!(tanh::<true>(f32::NAN).is_nan());
    }

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
            .map(|i| ulps(-87.33 + 175.33 * (i as f32 / 2_000_000.0)))
            .fold(0.0, f64::max);
        assert!(worst < 2.0, "{worst} ulp");
    }

    #[test]
    fn exp_is_right_at_the_edges() {
        for x in [0.0, -0.0] {
            assert_eq!(exp::<true>(x), 1.0);
        }
        for x in [f32::NEG_INFINITY, f32::MIN, -1000.0, -87.34] {
            assert_eq!(exp::<true>(x), 0.0);
        }
        assert!(exp::<true>(-87.33) >= f32::MIN_POSITIVE);
        for x in [88.5, 1000.0, f32::MAX, f32::INFINITY] {
            assert_eq!(exp::<true>(x), exp::<true>(88.0));
        }
        assert!(exp::<true>(f32::NAN).is_nan());
        assert!(exp::<false>(f32::NAN).is_nan());
    }
}
