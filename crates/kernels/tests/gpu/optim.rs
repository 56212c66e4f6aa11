use crate::support::{bits, gpu};
use halo_kernels::gpu::checks::numbers;
use halo_kernels::gpu::{self, optim::EightBit};
use halo_kernels::optim::AdamW;

const CFG: AdamW = AdamW {
    lr: 1e-2,
    beta1: 0.9,
    beta2: 0.999,
    eps: 1e-8,
    weight_decay: 0.1,
};

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
