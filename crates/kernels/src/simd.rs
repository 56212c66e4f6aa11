//! One source, several instruction sets: the loops of this crate are plain Rust that LLVM vectorises; here they are
//! compiled once per instruction set and chosen at run time.

use crate::exp::exp;

/// A loop nest to be compiled for every instruction set. `run` must be `#[inline(always)]`, and so must be what it calls:
/// a closure handed to a function that is not inlined (`collect`) is compiled without the instruction set.
pub(crate) trait Kernel {
    type Output;
    /// `FMA`: a fused multiply-add is one instruction here (elsewhere it would be a library call).
    fn run<const FMA: bool>(self) -> Self::Output;
}

/// Runs `kernel` in the best form that this processor has.
#[cfg(target_arch = "x86_64")]
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    fn avx512<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<true>()
    }
    #[target_feature(enable = "avx2,fma")]
    fn avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<true>()
    }
    if has_avx512() {
        // SAFETY: the processor has every feature that `avx512` enables.
        unsafe { avx512(kernel) }
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has every feature that `avx2` enables.
        unsafe { avx2(kernel) }
    } else {
        kernel.run::<false>()
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
}

/// Runs `kernel`; on aarch64 the baseline has fused multiply-add.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "aarch64")]
    return kernel.run::<true>();
    #[cfg(not(target_arch = "aarch64"))]
    kernel.run::<false>()
}

/// a·b + c, fused where that is one instruction.
#[inline(always)]
pub(crate) fn mul_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Independent accumulators of a reduction: enough to fill two 512-bit registers, so that sums vectorise without reassociation.
pub(crate) const LANES: usize = 32;

/// Σ aᵢ·bᵢ in a fixed order: LANES partial sums, then pairwise.
#[inline(always)]
pub(crate) fn dot<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut acc = [0.0f32; LANES];
    let (ac, ar) = a.as_chunks::<LANES>();
    let (bc, br) = b.as_chunks::<LANES>();
    for (a, b) in ac.iter().zip(bc) {
        for l in 0..LANES {
            acc[l] = mul_add::<FMA>(a[l], b[l], acc[l]);
        }
    }
    for (l, (a, b)) in ar.iter().zip(br).enumerate() {
        acc[l] = mul_add::<FMA>(*a, *b, acc[l]);
    }
    fold(acc, |a, b| a + b)
}

/// x ← exp(x − max), and Σ of the results in a fixed order.
#[inline(always)]
pub(crate) fn softmax_sum<const FMA: bool>(x: &mut [f32], max: f32) -> f32 {
    let mut acc = [0.0f32; LANES];
    let (chunks, rest) = x.as_chunks_mut::<LANES>();
    for x in chunks {
        for l in 0..LANES {
            x[l] = exp::<FMA>(x[l] - max);
            acc[l] += x[l];
        }
    }
    for (acc, x) in acc.iter_mut().zip(rest) {
        *x = exp::<FMA>(*x - max);
        *acc += *x;
    }
    fold(acc, |a, b| a + b)
}

/// The largest element; −∞ of none.
#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut acc = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for x in chunks {
        for l in 0..LANES {
            acc[l] = larger(acc[l], x[l]);
        }
    }
    for (acc, x) in acc.iter_mut().zip(rest) {
        *acc = larger(*acc, *x);
    }
    fold(acc, larger)
}

/// Pairwise reduction of the lanes.
#[inline(always)]
pub(crate) fn fold(mut acc: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for l in 0..width {
            acc[l] = f(acc[l], acc[l + width]);
        }
        width /= 2;
    }
    acc[0]
}
