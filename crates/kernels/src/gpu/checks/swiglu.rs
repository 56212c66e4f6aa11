use super::data::{DTYPES, numbers, stored};
use super::output::{Output, close, compare, worst};
use crate::gpu::{self, Gpu};
use crate::{Error, swiglu};

/// Around the edges of a block.
const LENGTHS: [usize; 7] = [0, 1, 33, 2047, 2048, 2049, 20_001];

/// Values and gradients.
pub(super) fn both(gpu: &Gpu) -> Result<f64, Error> {
    worst(&DTYPES, &LENGTHS, |dtype, n| {
        // Wide enough that the sigmoid saturates on both sides.
        let wide: Vec<f32> = numbers(n, 1).iter().map(|x| x * 8.0).collect();
        let (gate, gate_host) = stored(gpu, &wide, dtype)?;
        let (up, up_host) = stored(gpu, &numbers(n, 2), dtype)?;
        let (dout, dout_host) = stored(gpu, &numbers(n, 3), dtype)?;
        let [mut out_host, mut dgate_host, mut dup_host] = [0; 3].map(|_| vec![0.0; n]);
        swiglu::forward(&gate_host, &up_host, &mut out_host)?;
        let (dgate_out, dup_out) = (&mut dgate_host, &mut dup_host);
        swiglu::backward(&gate_host, &up_host, &dout_host, dgate_out, dup_out)?;
        let run = || {
            let fresh = || Output::poisoned(gpu, dtype, n);
            let [out, dgate, dup] = [fresh()?, fresh()?, fresh()?];
            gpu::swiglu::forward(&gate, &up, &out)?;
            gpu::swiglu::backward(&gate, &up, &dout, &dgate, &dup)?;
            Ok([out, dgate, dup])
        };
        compare(
            gpu,
            run,
            [close(&out_host), close(&dgate_host), close(&dup_host)],
        )
    })
}
