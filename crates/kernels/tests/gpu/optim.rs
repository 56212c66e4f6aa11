use crate::support::{bits, close, gpu, numbers, poisoned, stored};
use halo_kernels::gpu::{self, Dtype, optim::EightBit};
use halo_kernels::optim::{AdamW, eight_bit, step, sum_squares};

const CFG: AdamW = AdamW {
    lr: 1e-2,
    beta1: 0.9,
    beta2: 0.999,
    eps: 1e-8,
    weight_decay: 0.1,
};

#[test]
fn the_norm_is_exact_to_f64() {
    let gpu = gpu();
    for n in [0, 1, 255, 16_384, 16_385, 100_000] {
        let x = numbers(n, 1);
        let (there, want) = (gpu.upload(&x).unwrap(), sum_squares(&x));
        let got = gpu::optim::sum_squares(&there).unwrap();
        assert!((got - want).abs() <= 1e-12 * want.max(1.0), "{got} {want}");
        assert_eq!(got, gpu::optim::sum_squares(&there).unwrap());
    }
}

#[test]
fn adamw_is_the_cpu_s_and_its_copy_is_the_rounded_parameter() {
    let gpu = gpu();
    for n in [0, 1, 2048, 5000] {
        for decay in [false, true] {
            let run = || {
                let (p, mut p_host) = stored(&gpu, &numbers(n, 1), Dtype::F32);
                let (m, v) = (
                    gpu.zeros(Dtype::F32, n).unwrap(),
                    gpu.zeros(Dtype::F32, n).unwrap(),
                );
                let (mut m_host, mut v_host) = (vec![0.0; n], vec![0.0; n]);
                let copy = poisoned(&gpu, Dtype::Bf16, n);
                for t in 1..=4 {
                    let (g, g_host) = stored(&gpu, &numbers(n, 10 + t), Dtype::F32);
                    let copy = (t > 1).then_some(&copy);
                    gpu::optim::step(&p, &g, &m, &v, copy, t, &CFG, decay, 0.5).unwrap();
                    step(
                        &mut p_host,
                        &g_host,
                        &mut m_host,
                        &mut v_host,
                        t,
                        &CFG,
                        decay,
                        0.5,
                    )
                    .unwrap();
                }
                close(&p, &p_host, 1e-6);
                close(&m, &m_host, 1e-6);
                close(&v, &v_host, 1e-6);
                let (_, rounded) = stored(&gpu, &p.download().unwrap(), Dtype::Bf16);
                assert_eq!(copy.download().unwrap(), rounded);
                [bits(&p), bits(&m), bits(&v)]
            };
            assert!(run() == run());
        }
    }
}

#[test]
fn eight_bit_moments_are_the_cpu_s() {
    let gpu = gpu();
    for n in [1, 256, 257, 9000] {
        let run = || {
            let (p, mut p_host) = stored(&gpu, &numbers(n, 1), Dtype::F32);
            let moments = EightBit::new(&gpu, n).unwrap();
            let (mut m, mut v) = eight_bit::zeros(n);
            let scales = vec![0.0; eight_bit::blocks(n)];
            let (mut m_max, mut v_max) = (scales.clone(), scales);
            let copy = poisoned(&gpu, Dtype::Bf16, n);
            for t in 1..=6 {
                let (g, g_host) = stored(&gpu, &numbers(n, 10 + t), Dtype::F32);
                gpu::optim::step_eight_bit(&p, &g, &moments, Some(&copy), t, &CFG, true, 0.5)
                    .unwrap();
                eight_bit::step(
                    &mut p_host,
                    &g_host,
                    &mut m,
                    &mut v,
                    &mut m_max,
                    &mut v_max,
                    t,
                    &CFG,
                    true,
                    0.5,
                )
                .unwrap();
            }
            // Where a moment lies on the border of two codes, a fused multiply-add on one side makes the other code of it: few do.
            let (got_m, got_v, got_m_max, got_v_max) = moments.parts().unwrap();
            let differ = |a: &[u8], b: &[u8]| a.iter().zip(b).filter(|(a, b)| a != b).count();
            assert!(
                differ(&got_m, &m) * 1000 <= n,
                "{} of {n}",
                differ(&got_m, &m)
            );
            assert!(
                differ(&got_v, &v) * 1000 <= n,
                "{} of {n}",
                differ(&got_v, &v)
            );
            close(&gpu.upload(&got_m_max).unwrap(), &m_max, 1e-5);
            close(&gpu.upload(&got_v_max).unwrap(), &v_max, 1e-5);
            close(&p, &p_host, 1e-4);
            let (_, rounded) = stored(&gpu, &p.download().unwrap(), Dtype::Bf16);
            assert_eq!(copy.download().unwrap(), rounded);
            (bits(&p), got_m, got_v)
        };
        assert!(run() == run());
    }
}

#[test]
fn eight_bit_moments_go_through_a_checkpoint() {
    let gpu = gpu();
    let n = 700;
    let [p, q] = [0, 1].map(|_| gpu.upload(&numbers(n, 1)).unwrap());
    let ours = EightBit::new(&gpu, n).unwrap();
    let g = gpu.upload(&numbers(n, 2)).unwrap();
    gpu::optim::step_eight_bit(&p, &g, &ours, None, 1, &CFG, false, 1.0).unwrap();
    let (m, v, m_max, v_max) = ours.parts().unwrap();
    let theirs = EightBit::from_parts(&gpu, &m, &v, &m_max, &v_max).unwrap();
    q.copy_from(&p).unwrap();
    let before = p.download().unwrap();
    for (p, moments) in [(&p, &ours), (&q, &theirs)] {
        gpu::optim::step_eight_bit(p, &g, moments, None, 2, &CFG, false, 1.0).unwrap();
    }
    assert_eq!(bits(&p), bits(&q));
    assert!(EightBit::from_parts(&gpu, &m, &v[1..], &m_max, &v_max).is_err());
    // Into moments that are there: of the same tables, and of n only.
    let again = ours.beside(n).unwrap();
    again.write(&m, &v, &m_max, &v_max).unwrap();
    assert_eq!(again.codes()[0].download_codes().unwrap(), m);
    assert_eq!(again.codes()[1].download_codes().unwrap(), v);
    assert_eq!(again.scales()[0].download().unwrap(), m_max);
    assert_eq!(again.scales()[1].download().unwrap(), v_max);
    let r = gpu.upload(&before).unwrap();
    gpu::optim::step_eight_bit(&r, &g, &again, None, 2, &CFG, false, 1.0).unwrap();
    assert_eq!(bits(&r), bits(&p));
    assert!(
        ours.beside(n + 1)
            .unwrap()
            .write(&m, &v, &m_max, &v_max)
            .is_err()
    );
    assert!(again.scales()[0].download_codes().is_err());
}
