//! Random inputs, comparisons and finite differences.

/// SplitMix64.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0..n.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Uniform in −1..1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    /// f32 values in −size..size.
    pub(crate) fn vec(&mut self, n: usize, size: f64) -> Vec<f32> {
        (0..n).map(|_| (self.unit() * size) as f32).collect()
    }

    /// Indices below `limit`.
    pub(crate) fn indices(&mut self, n: usize, limit: usize) -> Vec<u32> {
        (0..n).map(|_| self.below(limit) as u32).collect()
    }
}

pub(crate) fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// A buffer that an op must write before anyone may read it.
pub(crate) fn poison(n: usize) -> Vec<f32> {
    vec![f32::NAN; n]
}

pub(crate) fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Every element within `tolerance` of the largest expected magnitude (at least 1e-2).
#[track_caller]
pub(crate) fn close(name: &str, got: &[f32], want: &[f64], tolerance: f64) {
    close_to(name, got, want, 1e-2, tolerance);
}

/// Every element within `tolerance` of the largest expected magnitude, at least `floor`: where terms of order `floor`
/// cancel, their rounding stays.
#[track_caller]
pub(crate) fn close_to(name: &str, got: &[f32], want: &[f64], floor: f64, tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{name}");
    let size = want.iter().fold(floor, |m, x| m.max(x.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(*g) - w).abs() / size;
        assert!(
            error <= tolerance,
            "{name}[{i}] = {g}, expected {w}: relative error {error:.2e}"
        );
    }
}

/// dL/dx by central differences.
pub(crate) fn differences(x: &[f64], mut loss: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
    let mut x = x.to_vec();
    let step = 1e-5;
    (0..x.len())
        .map(|i| {
            let old = x[i];
            x[i] = old + step;
            let up = loss(&x);
            x[i] = old - step;
            let down = loss(&x);
            x[i] = old;
            (up - down) / (2.0 * step)
        })
        .collect()
}

/// f64 gradients agree to 1e-6 of the largest (central differences with step 1e-5 have errors near 1e-9).
#[track_caller]
pub(crate) fn gradient(name: &str, got: &[f64], want: &[f64]) {
    let size = want.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!(
            (g - w).abs() <= 1e-6 * size,
            "{name}[{i}] = {g}, differences give {w}"
        );
    }
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Runs `f` on a pool of its own, so that tests do not depend on the machine.
pub(crate) fn threads<T: Send>(n: usize, f: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new()
        .num_threads(n)
        .build()
        .unwrap()
        .install(f)
}
