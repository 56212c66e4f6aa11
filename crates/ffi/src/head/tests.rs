//! The head as a host calls it: what it gives, what it refuses, and what it leaves alone.

use std::ffi::CStr;
use std::ptr::{null, null_mut};

use super::*;
use halo_kernels::elements::{bf16, f16};

/// A tensor and the memory behind it, as a host has them.
struct Owned<T> {
    data: Vec<T>,
    shape: Vec<i64>,
}

impl<T: Copy + Default> Owned<T> {
    fn new(data: Vec<T>, shape: &[i64]) -> Owned<T> {
        Owned {
            data,
            shape: shape.to_vec(),
        }
    }

    fn zeros(shape: &[i64]) -> Owned<T> {
        let len = shape.iter().product::<i64>() as usize;
        Owned::new(vec![T::default(); len], shape)
    }

    fn view(&mut self, class: u8) -> DLTensor {
        let bits = 8 * size_of::<T>() as u8;
        DLTensor::of(self.data.as_mut_ptr().cast(), class, bits, &self.shape)
    }
}

const INT: u8 = 0;
const FLOAT: u8 = 2;
const BFLOAT: u8 = 4;

fn zeroed<T: Sized32>() -> T {
    // SAFETY: zeros are a value of such structs.
    let mut options: T = unsafe { std::mem::zeroed() };
    // SAFETY: the first field is the size.
    unsafe {
        (&raw mut options)
            .cast::<u32>()
            .write(size_of::<T>() as u32)
    };
    options
}

fn record() -> halo_error {
    halo_error {
        struct_size: size_of::<halo_error>() as u32,
        code: 0,
        argument: -7,
        host_code: 0,
        example: -7,
        site: [0; 64],
        message: [0; 512],
    }
}

fn said(err: &halo_error) -> String {
    // SAFETY: messages end with NUL.
    let text = unsafe { CStr::from_ptr(err.message.as_ptr()) };
    text.to_string_lossy().into_owned()
}

fn numbers(n: usize, seed: usize) -> Vec<f32> {
    (0..n)
        .map(|i| ((i * 37 + seed * 101) % 199) as f32 / 99.0 - 1.0)
        .collect()
}

const N: usize = 5;
const H: usize = 3;
const V: usize = 7;

/// Hidden states, words, targets (row 2 is skipped), and columns of results.
struct World {
    hidden: Owned<f32>,
    weight: Owned<f32>,
    targets: Owned<i32>,
    logp: Owned<f32>,
    lse: Owned<f32>,
    d_logp: Owned<f32>,
    d_hidden: Owned<f32>,
    d_weight: Owned<f32>,
}

impl World {
    fn new() -> World {
        let (n, h, v) = (N as i64, H as i64, V as i64);
        World {
            hidden: Owned::new(numbers(N * H, 1), &[n, h]),
            weight: Owned::new(numbers(V * H, 2), &[v, h]),
            targets: Owned::new(vec![3, 0, -1, 6, 3], &[n]),
            logp: Owned::new(vec![9.0; N], &[n]),
            lse: Owned::new(vec![9.0; N], &[n]),
            d_logp: Owned::new(numbers(N, 3), &[n]),
            d_hidden: Owned::new(vec![9.0; N * H], &[n, h]),
            d_weight: Owned::new(vec![9.0; V * H], &[v, h]),
        }
    }

    /// Calls forward, and backward if that went well, with structs that `change` had its way with.
    fn call(
        &mut self,
        change: impl FnOnce(&mut [DLTensor; 3], &mut halo_head, &mut halo_head_grads),
    ) -> (halo_status, halo_error) {
        let mut tensors = [
            self.hidden.view(FLOAT),
            self.weight.view(FLOAT),
            self.targets.view(INT),
        ];
        let (mut logp, mut lse) = (self.logp.view(FLOAT), self.lse.view(FLOAT));
        let d_logp = self.d_logp.view(FLOAT);
        let mut d_hidden = self.d_hidden.view(FLOAT);
        let mut d_weight = self.d_weight.view(FLOAT);
        let mut head: halo_head = zeroed();
        head.hidden = &raw const tensors[0];
        head.weight = &raw const tensors[1];
        head.targets = &raw const tensors[2];
        let mut stats: halo_head_stats = zeroed();
        (stats.logp, stats.lse) = (&mut logp, &mut lse);
        let mut grads: halo_head_grads = zeroed();
        grads.d_logp = &d_logp;
        (grads.d_hidden, grads.d_weight) = (&mut d_hidden, &mut d_weight);
        change(&mut tensors, &mut head, &mut grads);
        let mut err = record();
        // SAFETY: all pointers are NULL or to what stands above.
        let status = unsafe {
            match halo_head_forward(&head, &stats, null(), &mut err) {
                HALO_OK => halo_head_backward(&head, &stats, &grads, null(), &mut err),
                status => status,
            }
        };
        (status, err)
    }

    fn untouched(&self) -> bool {
        let results = [&self.logp, &self.lse, &self.d_hidden, &self.d_weight];
        let nine = |column: &&Owned<f32>| column.data.iter().all(|x| *x == 9.0);
        results.iter().all(nine)
    }
}

#[test]
fn a_skipped_row_gives_zero_and_no_gradient() {
    let mut world = World::new();
    let (status, err) = world.call(|_, _, _| {});
    assert_eq!((status, err.argument), (HALO_OK, -7), "{}", said(&err));
    assert_eq!((world.logp.data[2], world.lse.data[2]), (0.0, 0.0));
    assert_eq!(world.d_hidden.data[2 * H..3 * H], [0.0; H]);
    assert!((0..N).all(|row| (world.logp.data[row] < 0.0) == (row != 2)));
    // what is there is overwritten, or added to
    let once = world.d_weight.data.clone();
    let (status, _) = world.call(|_, _, grads| grads.flags = HALO_GRADS_ACCUMULATE);
    assert_eq!(status, HALO_OK);
    let twice = once.iter().zip(&world.d_weight.data);
    assert!(
        twice
            .into_iter()
            .all(|(once, twice)| (2.0 * once - twice).abs() < 1e-6)
    );
}

#[test]
fn what_a_host_gets_wrong_is_named_and_nothing_is_written() {
    type Change = fn(&mut [DLTensor; 3], &mut halo_head, &mut halo_head_grads);
    let cases: &[(halo_status, i32, &str, Change)] = &[
        (
            HALO_E_SHAPE,
            0,
            "head.hidden has 1 dimensions, not 2",
            |t, _, _| t[0].ndim = 1,
        ),
        (
            HALO_E_LAYOUT,
            0,
            "strides [1, 5], which are not C-contiguous",
            |t, _, _| {
                const STRIDES: [i64; 2] = [1, 5];
                t[0].strides = STRIDES.as_ptr();
            },
        ),
        (
            HALO_E_LAYOUT,
            0,
            "head.weight is not aligned to 4 bytes",
            |t, _, _| t[1].byte_offset = 1,
        ),
        (
            HALO_E_DTYPE,
            0,
            "head.targets is f32, not i32 or i64",
            |t, _, _| t[2].dtype.class = FLOAT,
        ),
        (
            HALO_E_DTYPE,
            0,
            "DLPack's type 2 of 64 bits and 1 lanes, not f32 or bf16 or f16",
            |t, _, _| t[0].dtype.bits = 64,
        ),
        (
            HALO_E_UNSUPPORTED,
            0,
            "head.weight lies on a CUDA device",
            |t, _, _| t[1].device.kind = 2,
        ),
        (
            HALO_E_INVALID_ARGUMENT,
            0,
            "either hidden and weight, or logits alone",
            |t, head, _| head.logits = &raw const t[0],
        ),
        (
            HALO_E_INVALID_ARGUMENT,
            0,
            "head.targets is NULL",
            |_, head, _| head.targets = null(),
        ),
        (
            HALO_E_INVALID_ARGUMENT,
            0,
            "head.temperature = -1 is outside",
            |_, head, _| head.temperature = -1.0,
        ),
        (HALO_E_UNSUPPORTED, 0, "unknown flags", |_, head, _| {
            head.flags = 8
        }),
    ];
    for (code, argument, message, change) in cases {
        let mut world = World::new();
        let (status, err) = world.call(change);
        assert_eq!((status, err.code), (*code, *code), "{message}");
        assert_eq!(err.argument, *argument, "{message}");
        assert!(said(&err).contains(message), "{} / {message}", said(&err));
        assert!(world.untouched(), "{message}");
    }
}

#[test]
fn a_wrong_number_is_named_by_its_row() {
    let mut world = World::new();
    world.targets.data[3] = V as i32;
    let (status, err) = world.call(|_, _, _| {});
    assert_eq!((status, err.example), (HALO_E_INVALID_ARGUMENT, 3));
    assert!(said(&err).contains("head.targets[3] = 7 is outside the vocabulary of 7"));
    assert!(world.untouched());

    let mut world = World::new();
    world.hidden.data[4 * H + 1] = f32::NAN;
    let (status, err) = world.call(|_, _, _| {});
    assert_eq!((status, err.example), (HALO_E_NONFINITE, 4));
    assert_eq!(said(&err), "head.hidden[4, 1] is NaN or infinite");
    assert!(world.untouched());
    // a row that is skipped may hold anything
    world.hidden.data[4 * H + 1] = 0.5;
    world.hidden.data[2 * H] = f32::NAN;
    let (status, err) = world.call(|_, _, _| {});
    assert_eq!(status, HALO_OK, "{}", said(&err));

    let mut world = World::new();
    world.weight.data[5 * H] = f32::INFINITY;
    let (status, err) = world.call(|_, _, _| {});
    assert_eq!(status, HALO_E_NONFINITE);
    assert_eq!(said(&err), "head.weight[5, 0] is NaN or infinite");

    let mut world = World::new();
    world.d_logp.data[1] = f32::NAN;
    let (status, err) = world.call(|_, _, _| {});
    assert_eq!(
        (status, err.argument, err.example),
        (HALO_E_NONFINITE, 2, 1)
    );
    assert!(world.d_weight.data.iter().all(|x| *x == 9.0));
}

#[test]
fn gradients_that_share_memory_with_what_is_read_are_refused() {
    let mut world = World::new();
    let (status, err) = world.call(|t, _, grads| grads.d_weight = &mut t[1]);
    assert_eq!((status, err.argument), (HALO_E_INVALID_ARGUMENT, 2));
    assert_eq!(said(&err), "grads.d_weight shares memory with head.weight");
    assert_eq!(world.weight.data, numbers(V * H, 2));
}

#[test]
fn half_widths_are_read_as_they_are_and_gradients_are_rounded() {
    let mut full = World::new();
    // Both half widths hold multiples of 1/64 below 1 exactly.
    let snap = |x: &mut f32| *x = (*x * 64.0).round() / 64.0;
    full.hidden.data.iter_mut().for_each(snap);
    full.weight.data.iter_mut().for_each(snap);
    let (n, h, v) = (N as i64, H as i64, V as i64);
    let to = |x: &f32| bf16::from_f32(*x);
    let mut hidden = Owned::new(full.hidden.data.iter().map(to).collect(), &[n, h]);
    let weight = full.weight.data.iter().map(|x| f16::from_f32(*x));
    let mut weight = Owned::new(weight.collect(), &[v, h]);
    let mut d_hidden: Owned<bf16> = Owned::zeros(&[n, h]);
    let mut d_weight: Owned<f16> = Owned::zeros(&[v, h]);
    assert_eq!(full.call(|_, _, _| {}).0, HALO_OK);
    let mut half = World::new();
    let mut places = (d_hidden.view(BFLOAT), d_weight.view(FLOAT));
    let (status, err) = half.call(|t, _, grads| {
        (t[0], t[1]) = (hidden.view(BFLOAT), weight.view(FLOAT));
        (grads.d_hidden, grads.d_weight) = (&mut places.0, &mut places.1);
    });
    assert_eq!(status, HALO_OK, "{}", said(&err));
    assert_eq!(full.logp.data, half.logp.data);
    let rounded: Vec<bf16> = full.d_hidden.data.iter().map(to).collect();
    assert_eq!(rounded, d_hidden.data);
    let rounded = full.d_weight.data.iter().map(|x| f16::from_f32(*x));
    assert_eq!(rounded.collect::<Vec<_>>(), d_weight.data);
}

#[test]
fn logits_may_become_their_own_gradient() {
    let (n, v) = (N as i64, V as i64);
    let mut logits = Owned::new(numbers(N * V, 5), &[n, v]);
    let mut beside = Owned::new(vec![9.0f32; N * V], &[n, v]);
    let mut world = World::new();
    let mut places = (logits.view(FLOAT), beside.view(FLOAT));
    let of_logits = |head: &mut halo_head, grads: &mut halo_head_grads, x: *const DLTensor| {
        (head.hidden, head.weight, head.logits) = (null(), null(), x);
        (grads.d_hidden, grads.d_weight) = (null_mut(), null_mut());
    };
    let (status, err) = world.call(|_, head, grads| {
        of_logits(head, grads, &places.0);
        grads.d_logits = &mut places.1;
    });
    assert_eq!(status, HALO_OK, "{}", said(&err));
    let mut places = logits.view(FLOAT);
    let (status, err) = world.call(|_, head, grads| {
        of_logits(head, grads, &places);
        grads.d_logits = &mut places;
    });
    assert_eq!(status, HALO_OK, "{}", said(&err));
    assert_eq!(logits.data, beside.data);
    // a row's gradient sums to 0, the skipped one's is 0
    for (row, by) in logits.data.chunks(V).enumerate() {
        assert!(by.iter().sum::<f32>().abs() < 1e-6);
        assert_eq!(row == 2, by.iter().all(|x| *x == 0.0));
    }
    // logits that were overwritten meanwhile are not those of their lse
    logits.data = vec![50.0; N * V];
    let mut stats: halo_head_stats = zeroed();
    let mut head: halo_head = zeroed();
    let mut grads: halo_head_grads = zeroed();
    let (mut lse, targets) = (world.lse.view(FLOAT), world.targets.view(INT));
    let (mut place, d_logp) = (logits.view(FLOAT), world.d_logp.view(FLOAT));
    stats.lse = &mut lse;
    (head.logits, head.targets) = (&raw const place, &targets);
    (grads.d_logp, grads.d_logits) = (&d_logp, &mut place);
    let mut err = record();
    // SAFETY: all pointers are NULL or to what stands above.
    let status = unsafe { halo_head_backward(&head, &stats, &grads, null(), &mut err) };
    assert_eq!(
        (status, err.example),
        (HALO_E_NONFINITE, 0),
        "{}",
        said(&err)
    );
    assert_eq!(logits.data, vec![50.0; N * V]);
}

#[test]
fn no_rows_are_no_error() {
    let mut world = World::new();
    let shape = |shape: &mut Vec<i64>| shape[0] = 0;
    shape(&mut world.hidden.shape);
    shape(&mut world.targets.shape);
    shape(&mut world.logp.shape);
    shape(&mut world.lse.shape);
    shape(&mut world.d_logp.shape);
    shape(&mut world.d_hidden.shape);
    let (status, err) = world.call(|_, _, _| {});
    assert_eq!(status, HALO_OK, "{}", said(&err));
    assert_eq!(world.d_weight.data, vec![0.0; V * H]);
}
