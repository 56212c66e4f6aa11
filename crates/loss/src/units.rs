//! From rows to the units of a formula, in the order of the rows or as a loss couples them.

use alloc::vec::Vec;

use crate::example::{Row, Sequence};
use crate::losses::{Built, Coupling};
use crate::spec::Need;

/// The units with the rows that they are made of: row `i` of a unit is its variable `i`.
pub(crate) fn units<'a, const N: usize>(
    built: &Built,
    rows: &'a [Row],
) -> impl Iterator<Item = ([usize; N], [Sequence<N>; N])> + use<'a, N> {
    let count = rows.len() / N;
    // in a sum of losses a row may carry another term's reference point
    let estimated = built.needs.contains(&Need::ReferencePoint);
    let (margins, partners) = match built.coupling {
        Coupling::None => (None, None),
        Coupling::Margins => (Some(reference_margins(rows)), None),
        Coupling::Answers => (None, Some(equal_ranks(rows))),
    };
    (0..count).map(move |unit| {
        let mut indices: [usize; N] = core::array::from_fn(|i| unit * N + i);
        if let (Some(partners), Some(last)) = (&partners, indices.last_mut()) {
            *last = partners[unit];
        }
        let mut sequences = sequences(&indices.map(|index| rows[index]), estimated);
        if let Some(margins) = &margins {
            for (i, sequence) in sequences.iter_mut().enumerate() {
                sequence.ref_logp = if i == 0 { margins[unit] } else { 0.0 };
            }
        }
        (indices, sequences)
    })
}

/// A unit of these rows; `estimated`: the loss has a reference point.
#[inline]
pub(crate) fn sequences<const N: usize>(rows: &[Row; N], estimated: bool) -> [Sequence<N>; N] {
    core::array::from_fn(|i| Sequence {
        // a pair's beta is the chosen row's, whichever role its rows are given
        beta_scale: rows[0].beta_scale,
        z0: if estimated { rows[i].z0 } else { 0.0 },
        ..Sequence::new(&rows[i], i)
    })
}

/// For each pair the margin of the reference whose rank is that of the pair's margin under the policy.
fn reference_margins(rows: &[Row]) -> Vec<f64> {
    let margin = |of: fn(&Row) -> f64| -> Vec<f64> {
        let pairs = rows.as_chunks::<2>().0.iter();
        pairs
            .map(|[chosen, rejected]| of(chosen) - of(rejected))
            .collect()
    };
    let (policy, reference) = (margin(|row| row.logp), margin(|row| row.ref_logp));
    let mut met = alloc::vec![0.0; policy.len()];
    for (mine, theirs) in ascending(&policy).into_iter().zip(ascending(&reference)) {
        met[mine] = reference[theirs];
    }
    met
}

/// For each pair the index of the rejected row whose rank is that of the pair's chosen row, by log-ratio.
fn equal_ranks(rows: &[Row]) -> Vec<usize> {
    let ratios = |first: usize| -> Vec<f64> {
        let rows = rows.iter().skip(first).step_by(2);
        rows.map(|row| row.logp - row.ref_logp).collect()
    };
    let (chosen, rejected) = (ratios(0), ratios(1));
    let mut met = alloc::vec![0; chosen.len()];
    for (mine, theirs) in ascending(&chosen).into_iter().zip(ascending(&rejected)) {
        met[mine] = 2 * theirs + 1;
    }
    met
}

/// Indices in ascending order of the numbers, equal ones by index.
fn ascending(numbers: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|&a, &b| numbers[a].total_cmp(&numbers[b]).then(a.cmp(&b)));
    order
}
