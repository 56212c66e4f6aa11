use crate::support::*;
use halo_kernels::embedding::{backward, forward};

#[test]
fn rows_are_gathered_and_gradients_added_back() {
    let mut rng = Rng(9);
    for (n, v, d) in [(0, 3, 2), (1, 1, 1), (50, 7, 5), (500, 300, 24)] {
        let (ids, table) = (rng.indices(n, v), rng.vec(v * d, 1.0));
        let (dout, dtable0) = (rng.vec(n * d, 1.0), rng.vec(v * d, 1.0));
        let mut out = poison(n * d);
        forward(&ids, &table, &mut out, d).unwrap();
        let mut want = wide(&dtable0);
        for (r, &id) in ids.iter().enumerate() {
            assert_eq!(out[r * d..(r + 1) * d], table[id as usize * d..][..d]);
            for i in 0..d {
                want[id as usize * d + i] += f64::from(dout[r * d + i]);
            }
        }
        let run = || {
            let mut dtable = dtable0.clone();
            backward(&ids, &dout, &mut dtable, d).unwrap();
            dtable
        };
        let got = threads(4, run);
        close("dtable", &got, &want, 1e-6);
        assert_eq!(bits(&got), bits(&threads(1, run)));
    }
}

#[test]
fn an_unknown_id_is_named() {
    let error = forward(&[0, 4], &[0.0; 8], &mut [0.0; 4], 2).unwrap_err();
    assert_eq!(
        error.to_string(),
        "embedding::forward: ids[1] = 4 is outside 0..4"
    );
}
