//! A small portable random generator whose whole state is one number.
//!
//! SplitMix64 (Steele, Lea and Flood 2014): a counter and a mixing function. The same seed gives the same numbers on
//! every machine, in every version; shuffles, pairings and sampling depend on it, so it never changes.

use serde::{Deserialize, Serialize};

/// The generator. Its state is a counter, so it is saved and restored as one integer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rng {
    counter: u64,
}

impl Rng {
    /// A generator for `seed`; near seeds give unrelated numbers.
    pub fn new(seed: u64) -> Rng {
        Rng {
            counter: mix(seed.wrapping_add(GOLDEN)),
        }
    }

    /// An independent generator for `stream` (an epoch, a step, an example), without advancing this one.
    pub fn fork(&self, stream: u64) -> Rng {
        Rng {
            counter: mix(self.counter ^ mix(stream.wrapping_mul(GOLDEN).wrapping_add(1))),
        }
    }

    /// 64 uniform bits.
    pub fn next_u64(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(GOLDEN);
        mix(self.counter)
    }

    /// Uniform in [0, 1), a multiple of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in `0..n`, without bias (Lemire 2019, arXiv 1805.10941); 0 for n = 0.
    pub fn below(&mut self, n: u64) -> u64 {
        loop {
            let product = u128::from(self.next_u64()) * u128::from(n);
            // Low words under 2⁶⁴ mod n belong to the results that would come once too often.
            if n < 2 || product as u64 >= n.wrapping_neg() % n {
                return (product >> 64) as u64;
            }
        }
    }

    /// A uniformly random order (Fisher and Yates, from the end).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }

    /// Normal with mean 0 and variance 1 (Box and Muller, one of the two values).
    pub fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.uniform()));
        radius * libm::cos(2.0 * core::f64::consts::PI * self.uniform())
    }
}

/// 2⁶⁴ divided by the golden ratio, odd: the counter's step.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64's finaliser.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_splitmix64s() {
        // The published first outputs for state 1234567.
        let mut rng = Rng { counter: 1_234_567 };
        let expected = [
            6457827717110365317,
            3203168211198807973,
            9817491932198370423,
            4593380528125082431,
        ];
        assert_eq!(expected.map(|_| rng.next_u64()), expected);
    }

    #[test]
    fn a_fork_depends_on_seed_and_stream_and_leaves_its_parent_alone() {
        let rng = Rng::new(7);
        let first = |mut rng: Rng| rng.next_u64();
        assert_eq!(first(rng.fork(3)), first(Rng::new(7).fork(3)));
        assert_ne!(first(rng.fork(3)), first(rng.fork(4)));
        assert_ne!(first(rng.fork(3)), first(Rng::new(8).fork(3)));
        assert_eq!(rng, Rng::new(7));
    }

    #[test]
    fn below_reaches_every_value_about_equally_often() {
        let mut rng = Rng::new(1);
        let mut counts = [0u32; 7];
        for _ in 0..70_000 {
            counts[rng.below(7) as usize] += 1;
        }
        // Standard deviation 93: five of them.
        assert!(
            counts.iter().all(|&count| count.abs_diff(10_000) < 465),
            "{counts:?}"
        );
        assert_eq!((rng.below(1), rng.below(0)), (0, 0));
    }

    #[test]
    fn a_shuffle_is_a_permutation() {
        let mut items: Vec<u32> = (0..100).collect();
        Rng::new(5).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn normals_have_mean_zero_and_variance_one() {
        let mut rng = Rng::new(2);
        let draws: Vec<f64> = (0..100_000).map(|_| rng.normal()).collect();
        let mean = draws.iter().sum::<f64>() / 1e5;
        let variance = draws.iter().map(|x| x * x).sum::<f64>() / 1e5;
        assert!(
            mean.abs() < 0.016 && (variance - 1.0).abs() < 0.023,
            "{mean} {variance}"
        ); // five standard errors
    }
}
