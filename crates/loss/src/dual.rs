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
        let (up, down) = (sigmoid(self.value), sigmoid(-self.value));
        self.chain(up, up * down)
    }

    /// ln σ(x), finite for every finite x.
    pub fn log_sigmoid(self) -> Self {
        self.chain(log_sigmoid(self.value), sigmoid(-self.value))
    }

    /// ln(1 − eˣ) for x < 0.
    pub fn log1mexp(self) -> Self {
        // d/dx ln(1 - e^x) = -e^x / (1 - e^x) = 1 / expm1(-x) with the sign turned
        self.chain(log1mexp(self.value), -1.0 / libm::expm1(-self.value))
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

/// The logistic function 1 / (1 + e⁻ˣ), without overflow on either side.
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + libm::exp(-x))
    } else {
        let e = libm::exp(x);
        e / (1.0 + e)
    }
}

/// ln σ(x) = min(x, 0) − ln(1 + e^(−|x|)).
pub fn log_sigmoid(x: f64) -> f64 {
    let below = if x < 0.0 { x } else { 0.0 };
    below - libm::log1p(libm::exp(-libm::fabs(x)))
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
