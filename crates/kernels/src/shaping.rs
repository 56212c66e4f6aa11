//! What some models and samplers do to logits before the softmax: a soft cap, a temperature.

use crate::exp::tanh;

/// z = cap·tanh(x / cap) / temperature. Gemma 2 caps its logits at 30; a sampler divides by its temperature after that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shaping {
    /// Divides logits; above 0.
    pub temperature: f32,
    /// Logits stay within ±cap; above 0.
    pub softcap: Option<f32>,
}

impl Shaping {
    /// Logits as they are.
    pub const PLAIN: Shaping = Shaping {
        temperature: 1.0,
        softcap: None,
    };

    /// x becomes z.
    #[inline(always)]
    pub(crate) fn apply<const FMA: bool>(&self, x: &mut [f32]) {
        let scale = 1.0 / self.temperature;
        match self.softcap {
            Some(cap) => {
                let inverse = 1.0 / cap;
                for x in x {
                    *x = cap * tanh::<FMA>(*x * inverse) * scale;
                }
            }
            None if self.temperature != 1.0 => {
                for x in x {
                    *x *= scale;
                }
            }
            None => {}
        }
    }

    /// dz/dx from z: (1 − tanh²) / temperature.
    #[inline(always)]
    pub(crate) fn slope(&self, z: f32) -> f32 {
        let scale = 1.0 / self.temperature;
        match self.softcap {
            Some(cap) => {
                let tanh = z * self.temperature / cap;
                scale * (1.0 - tanh * tanh)
            }
            None => scale,
        }
    }
}
