//! Forward-mode derivatives: numbers that carry their gradient, and the stable forms every loss is written in.
//!
//! Forward mode, because a loss has one or two inputs per unit (the log-probabilities of its sequences) and
//! one output: no tape, no allocation, and the formula reads as in the paper.

use core::ops::{Add, Div, Mul, Neg, Sub};

/// A number and its derivatives with respect to `N` variables.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dual<const N: usize> {
    /// The value.
    pub value: f64,
    /// The partial derivatives.
    pub gradient: [f64; N],
}

impl<const N: usize> Dual<N> {
    /// A number that depends on nothing: the paper's stop-gradient.
    pub fn constant(value: f64) -> Self {
        Dual {
            value,
            gradient: [0.0; N],
        }
    }

    /// The variable number `index`; an index beyond `N` gives a constant.
    pub fn variable(value: f64, index: usize) -> Self {
        let mut dual = Dual::constant(value);
        if let Some(slot) = dual.gradient.get_mut(index) {
            *slot = 1.0;
        }
        dual
    }

    /// The chain rule: a function's value and its slope at `self`.
    pub fn chain(self, value: f64, slope: f64) -> Self {
        Dual {
            value,
            gradient: self.gradient.map(|g| slope * g),
        }
    }

    /// eˣ. Overflows beyond 709: a loss that needs it there caps its exponent first.
    pub fn exp(self) -> Self {
        let e = libm::exp(self.value);
        self.chain(e, e)
    }

    /// eˣ − 1, exact near 0.
    pub fn exp_m1(self) -> Self {
        self.chain(libm::expm1(self.value), libm::exp(self.value))
    }

    /// Natural logarithm, for x > 0.
    pub fn ln(self) -> Self {
        self.chain(libm::log(self.value), 1.0 / self.value)
    }

    /// ln(1 + x), exact near 0, for x > −1.
    pub fn ln_1p(self) -> Self {
        self.chain(libm::log1p(self.value), 1.0 / (1.0 + self.value))
    }

    /// xᵖ for x > 0 and a constant p.
    pub fn powf(self, p: f64) -> Self {
        self.chain(libm::pow(self.value, p), p * libm::pow(self.value, p - 1.0))
    }

    /// x².
    pub fn square(self) -> Self {
        self.chain(self.value * self.value, 2.0 * self.value)
    }

    /// The logistic function σ(x).
    pub fn sigmoid(self) -> Self {
        let (up, down) = sigmoids(self.value);
        self.chain(up, up * down)
    }

    /// ln σ(x), finite for every finite x.
    pub fn log_sigmoid(self) -> Self {
        let (value, slope) = log_sigmoid_with_slope(self.value);
        self.chain(value, slope)
    }

    /// ln(1 − eˣ) for x < 0.
    pub fn log1mexp(self) -> Self {
        // d/dx ln(1 - e^x) = -e^x / (1 - e^x) = 1 / expm1(-x) with the sign turned
        self.chain(log1mexp(self.value), -1.0 / libm::expm1(-self.value))
    }

    /// eˣ up to x = 80, its tangent beyond: finite for every finite x.
    pub fn exp_capped(self) -> Self {
        let (value, slope) = exp_capped(self.value);
        self.chain(value, slope)
    }

    /// x within `low..=high`, with slope 0 outside.
    pub fn clamp(self, low: f64, high: f64) -> Self {
        if self.value < low {
            Dual::constant(low)
        } else if self.value > high {
            Dual::constant(high)
        } else {
            self
        }
    }

    /// The smaller of the two with its own derivative; the first of equals.
    pub fn min(self, other: Self) -> Self {
        if other.value < self.value {
            other
        } else {
            self
        }
    }

    /// The same number with the derivative forgotten.
    pub fn detached(self) -> Self {
        Dual::constant(self.value)
    }

    /// max(x, 0); the slope at 0 is 0, as at every point that pays nothing.
    pub fn relu(self) -> Self {
        if self.value > 0.0 {
            self
        } else {
            Dual::constant(0.0)
        }
    }
}

/// Exponents beyond this continue along the tangent: e⁸⁰ is larger than any probability ratio that is real.
pub const EXPONENT_CAP: f64 = 80.0;

/// (eˣ, its slope), along the tangent beyond [`EXPONENT_CAP`].
pub fn exp_capped(x: f64) -> (f64, f64) {
    if x <= EXPONENT_CAP {
        let e = libm::exp(x);
        (e, e)
    } else {
        let slope = libm::exp(EXPONENT_CAP);
        (slope * (1.0 + (x - EXPONENT_CAP)), slope)
    }
}

/// The logistic function 1 / (1 + e⁻ˣ), without overflow on either side.
pub fn sigmoid(x: f64) -> f64 {
    sigmoids(x).0
}

/// (σ(x), σ(−x)) from one exponential, finite and without cancellation for every x.
fn sigmoids(x: f64) -> (f64, f64) {
    let e = libm::exp(-libm::fabs(x));
    let (large, small) = (1.0 / (1.0 + e), e / (1.0 + e));
    if x >= 0.0 {
        (large, small)
    } else {
        (small, large)
    }
}

/// ln σ(x) = min(x, 0) − ln(1 + e^(−|x|)).
pub fn log_sigmoid(x: f64) -> f64 {
    log_sigmoid_with_slope(x).0
}

/// (ln σ(x), σ(−x)).
fn log_sigmoid_with_slope(x: f64) -> (f64, f64) {
    let e = libm::exp(-libm::fabs(x));
    let below = if x < 0.0 { x } else { 0.0 };
    let slope = if x > 0.0 {
        e / (1.0 + e)
    } else {
        1.0 / (1.0 + e)
    };
    (below - libm::log1p(e), slope)
}

/// ln(1 − eᵃ) for a < 0; each branch is exact where the other cancels (Mächler 2012).
pub fn log1mexp(a: f64) -> f64 {
    if a > -core::f64::consts::LN_2 {
        libm::log(-libm::expm1(a))
    } else {
        libm::log1p(-libm::exp(a))
    }
}

impl<const N: usize> Neg for Dual<N> {
    type Output = Self;
    fn neg(self) -> Self {
        self.chain(-self.value, -1.0)
    }
}

impl<const N: usize> Add for Dual<N> {
    type Output = Self;
    fn add(mut self, other: Self) -> Self {
        self.value += other.value;
        for (a, b) in self.gradient.iter_mut().zip(other.gradient) {
            *a += b;
        }
        self
    }
}

impl<const N: usize> Sub for Dual<N> {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl<const N: usize> Mul for Dual<N> {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        self.chain(self.value * other.value, other.value) + other.chain(0.0, self.value)
    }
}

impl<const N: usize> Div for Dual<N> {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        let quotient = self.value / other.value;
        self.chain(quotient, 1.0 / other.value) + other.chain(0.0, -quotient / other.value)
    }
}

impl<const N: usize> Add<f64> for Dual<N> {
    type Output = Self;
    fn add(self, other: f64) -> Self {
        Dual {
            value: self.value + other,
            ..self
        }
    }
}

impl<const N: usize> Sub<f64> for Dual<N> {
    type Output = Self;
    fn sub(self, other: f64) -> Self {
        Dual {
            value: self.value - other,
            ..self
        }
    }
}

impl<const N: usize> Mul<f64> for Dual<N> {
    type Output = Self;
    fn mul(self, other: f64) -> Self {
        self.chain(self.value * other, other)
    }
}

impl<const N: usize> Div<f64> for Dual<N> {
    type Output = Self;
    fn div(self, other: f64) -> Self {
        self.chain(self.value / other, 1.0 / other)
    }
}

impl<const N: usize> Add<Dual<N>> for f64 {
    type Output = Dual<N>;
    fn add(self, other: Dual<N>) -> Dual<N> {
        other + self
    }
}

impl<const N: usize> Sub<Dual<N>> for f64 {
    type Output = Dual<N>;
    fn sub(self, other: Dual<N>) -> Dual<N> {
        -other + self
    }
}

impl<const N: usize> Mul<Dual<N>> for f64 {
    type Output = Dual<N>;
    fn mul(self, other: Dual<N>) -> Dual<N> {
        other * self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A function of one variable, by its name in failures.
    type Named = (&'static str, fn(Dual<1>) -> Dual<1>, &'static [f64]);

    const FUNCTIONS: &[Named] = &[
        ("exp", Dual::exp, &[-30.0, -1.0, 0.0, 2.5]),
        ("exp_m1", Dual::exp_m1, &[-3.0, -1e-3, 0.0, 1e-3, 2.0]),
        ("ln", Dual::ln, &[0.1, 1.0, 7.0]),
        ("ln_1p", Dual::ln_1p, &[-0.5, 0.0, 1e-3, 4.0]),
        ("powf", |x| x.powf(0.88), &[0.1, 1.0, 12.0]),
        ("square", Dual::square, &[-3.0, 0.0, 2.0]),
        ("sigmoid", Dual::sigmoid, &[-20.0, -1.0, 0.0, 1.0, 20.0]),
        (
            "log_sigmoid",
            Dual::log_sigmoid,
            &[-20.0, -1.0, 0.0, 1.0, 20.0],
        ),
        (
            "log1mexp",
            Dual::log1mexp,
            &[-0.1, -core::f64::consts::LN_2, -1.0, -9.0],
        ),
        ("relu", Dual::relu, &[-2.0, 2.0]),
        (
            "exp_capped",
            |x| (x * 1e-1).exp_capped(),
            &[-9.0, 0.0, 20.0],
        ),
        ("clamp", |x| x.clamp(-1.0, 2.0), &[-3.0, 0.5, 3.0]),
        ("min", |x| x.min(x * 2.0), &[-3.0, 3.0]),
        ("neg", |x| -x, &[1.5]),
        ("sum", |x| x + x.square() + 2.0, &[1.5]),
        ("difference", |x| 1.0 - x.square() - x - 2.0, &[1.5]),
        ("product", |x| 3.0 * x.exp() * x * 0.5, &[-1.5, 0.0, 1.5]),
        (
            "quotient",
            |x| x.exp() / (x.square() + 1.0) / 2.0,
            &[-1.5, 0.0, 1.5],
        ),
    ];

    #[test]
    fn derivatives_are_finite_differences() {
        let h = 1e-5;
        for (name, f, places) in FUNCTIONS {
            for &x in *places {
                let at = |x| f(Dual::variable(x, 0));
                let slope = at(x).gradient[0];
                let difference = (at(x + h).value - at(x - h).value) / (2.0 * h);
                // h² of the third derivative, and rounding of the value over h
                let tolerance = 1e-8 * (1.0 + slope.abs() + at(x).value.abs());
                assert!(
                    (slope - difference).abs() < tolerance,
                    "{name} at {x}: {slope}, difference {difference}"
                );
            }
        }
    }

    #[test]
    fn every_variable_has_its_own_derivative() {
        let (x, y) = (Dual::<2>::variable(3.0, 0), Dual::<2>::variable(5.0, 1));
        assert_eq!((x * y).gradient, [5.0, 3.0]);
        assert_eq!((x - y).gradient, [1.0, -1.0]);
        assert_eq!((x / y).gradient, [0.2, -3.0 / 25.0]);
        assert_eq!(Dual::<2>::constant(7.0).gradient, [0.0, 0.0]);
        assert_eq!(Dual::<2>::variable(7.0, 2), Dual::constant(7.0));
    }

    #[test]
    fn stable_forms_are_finite_far_out() {
        for x in [-1e308, -1e4, -745.0, 745.0, 1e4, 1e308] {
            for dual in [
                Dual::<1>::variable(x, 0).sigmoid(),
                Dual::variable(x, 0).log_sigmoid(),
            ] {
                assert!(
                    dual.value.is_finite() && dual.gradient[0].is_finite(),
                    "{x}: {dual:?}"
                );
            }
        }
        assert_eq!(log_sigmoid(-1e4), -1e4);
        assert_eq!(sigmoid(-1e4), 0.0);
        assert_eq!(sigmoid(1e4), 1.0);
    }

    #[test]
    fn log1mexp_keeps_its_digits_at_both_ends() {
        // ln(1 - e^-x) at x = 1e-20 is ln(x - x²/2 + …) = -20 ln 10
        assert!((log1mexp(-1e-20) + 20.0 * core::f64::consts::LN_10).abs() < 1e-13);
        // and at x = 50 it is -e^-50, which 1 - e^-50 cannot hold
        assert!((log1mexp(-50.0) / -libm::exp(-50.0) - 1.0).abs() < 1e-15);
    }
}
