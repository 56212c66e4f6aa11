use crate::support::{bits, gpu, poisoned};
use halo_kernels::gpu::{self, checks::numbers};

#[test]
fn gradients_may_overwrite_what_they_come_from() {
    let gpu = gpu();
    let [gate, up, dout] = [1, 2, 3].map(|seed| gpu.upload(&numbers(3000, seed)).unwrap());
    let [dgate, dup] = [0, 1].map(|_| poisoned(&gpu, gate.dtype(), 3000));
    gpu::swiglu::backward(&gate, &up, &dout, &dgate, &dup).unwrap();
    gpu::swiglu::backward(&gate, &up, &dout, &gate, &up).unwrap();
    assert_eq!([bits(&gate), bits(&up)], [bits(&dgate), bits(&dup)]);
}
