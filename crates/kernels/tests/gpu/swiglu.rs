use crate::support::{DTYPES, bits, close, gpu, numbers, poisoned, stored};
use halo_kernels::{gpu, swiglu};

#[test]
fn forward_and_backward_are_the_cpu_s() {
    let gpu = gpu();
    for dtype in DTYPES {
        for n in [0, 1, 33, 2047, 2048, 2049, 10_000] {
            let wide: Vec<f32> = numbers(n, 1).iter().map(|x| x * 8.0).collect();
            let (gate, gate_host) = stored(&gpu, &wide, dtype);
            let (up, up_host) = stored(&gpu, &numbers(n, 2), dtype);
            let (dout, dout_host) = stored(&gpu, &numbers(n, 3), dtype);
            let [mut out_host, mut dgate_host, mut dup_host] = [0, 1, 2].map(|_| vec![0.0; n]);
            swiglu::forward(&gate_host, &up_host, &mut out_host).unwrap();
            swiglu::backward(
                &gate_host,
                &up_host,
                &dout_host,
                &mut dgate_host,
                &mut dup_host,
            )
            .unwrap();
            let run = || {
                let [out, dgate, dup] = [0, 1, 2].map(|_| poisoned(&gpu, dtype, n));
                gpu::swiglu::forward(&gate, &up, &out).unwrap();
                gpu::swiglu::backward(&gate, &up, &dout, &dgate, &dup).unwrap();
                close(&out, &out_host, 1e-6);
                close(&dgate, &dgate_host, 1e-6);
                close(&dup, &dup_host, 1e-6);
                [bits(&out), bits(&dgate), bits(&dup)]
            };
            assert!(run() == run());
        }
    }
}

#[test]
fn gradients_may_overwrite_what_they_come_from() {
    let gpu = gpu();
    let [gate, up, dout] = [1, 2, 3].map(|seed| gpu.upload(&numbers(3000, seed)).unwrap());
    let [dgate, dup] = [0, 1].map(|_| poisoned(&gpu, gate.dtype(), 3000));
    gpu::swiglu::backward(&gate, &up, &dout, &dgate, &dup).unwrap();
    gpu::swiglu::backward(&gate, &up, &dout, &gate, &up).unwrap();
    assert_eq!([bits(&gate), bits(&up)], [bits(&dgate), bits(&dup)]);
}
