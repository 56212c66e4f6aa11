use crate::support::{DTYPES, bits, close, gpu, indices, numbers, poisoned, stored};
use halo_kernels::embedding::{backward, forward};
use halo_kernels::gpu::{self, Dtype, embedding::Runs};

const SHAPES: [(usize, usize, usize); 5] = [
    (0, 3, 2),
    (1, 1, 1),
    (50, 7, 5),
    (300, 900, 33),
    (40, 5, 300),
];

#[test]
fn rows_are_gathered_bit_for_bit() {
    let gpu = gpu();
    for dtype in DTYPES {
        for (n, v, d) in SHAPES {
            let ids = indices(n, v, 3);
            let (table, table_host) = stored(&gpu, &numbers(v * d, 1), dtype);
            let mut out_host = vec![0.0; n * d];
            forward(&ids, &table_host, &mut out_host, d).unwrap();
            let out = poisoned(&gpu, dtype, n * d);
            gpu::embedding::forward(&gpu.upload_u32(&ids).unwrap(), &table, &out, d).unwrap();
            assert_eq!(out.download().unwrap(), out_host);
        }
    }
}

#[test]
fn gradients_are_added_back_into_both_kinds_of_destination() {
    let gpu = gpu();
    for dtype in DTYPES {
        for into in DTYPES {
            if into == Dtype::Bf16 && dtype == Dtype::F32 {
                continue;
            }
            for (n, v, d) in SHAPES {
                let ids = indices(n, v, 3);
                let runs = Runs::new(&gpu, &ids).unwrap();
                let (dout, dout_host) = stored(&gpu, &numbers(n * d, 1), dtype);
                let run = || {
                    let (dtable, mut dtable_host) = stored(&gpu, &numbers(v * d, 2), into);
                    gpu::embedding::backward(&runs, &dout, &dtable, d).unwrap();
                    backward(&ids, &dout_host, &mut dtable_host, d).unwrap();
                    close(&dtable, &dtable_host, 1e-6);
                    bits(&dtable)
                };
                assert!(run() == run());
            }
        }
    }
}

#[test]
fn an_id_outside_the_table_is_refused_or_seen() {
    let gpu = gpu();
    let [table, out] = [8, 4].map(|n| gpu.zeros(Dtype::F32, n).unwrap());
    let runs = Runs::new(&gpu, &[0, 4]).unwrap();
    let error = gpu::embedding::backward(&runs, &out, &table, 2).unwrap_err();
    assert!(error.to_string().contains("an id is outside"), "{error}");
    gpu::embedding::forward(&gpu.upload_u32(&[0, 4]).unwrap(), &table, &out, 2).unwrap();
    let out = out.download().unwrap();
    assert!(out[..2] == [0.0; 2] && out[2..].iter().all(|x| x.is_nan()));
}
