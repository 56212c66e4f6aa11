//! What a batch is counted in: single records, or pairs by their group.

use std::collections::HashMap;

use halo_loss::{DataShape, Label};
use halo_train::{Record, Unit};

use super::records::Row;
use crate::failure::{Failure, Outcome};
use crate::status::*;

/// The units of a loss's shape, in the order of their first records.
///
/// # Errors
/// For pairs a group without exactly one desirable and one undesirable record, named by its first record.
pub(super) fn of(rows: &[&Row], records: &[Record], shape: DataShape) -> Outcome<Vec<Unit>> {
    match shape {
        DataShape::Paired => pairs(rows, records),
        DataShape::Unpaired | DataShape::Grouped => Ok((0..rows.len()).map(Unit::Single).collect()),
        // Demonstrations: what is not judged undesirable.
        DataShape::Any => {
            let wanted = |record: &usize| records[*record].label == Label::Desirable;
            Ok((0..rows.len()).filter(wanted).map(Unit::Single).collect())
        }
    }
}

/// Each group with its records, in the order of their first.
pub(super) fn groups(rows: &[&Row]) -> Vec<Vec<usize>> {
    let mut places: HashMap<u64, usize> = HashMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        match row.group {
            0 => groups.push(vec![number]),
            group => {
                let place = *places.entry(group).or_insert(groups.len());
                match groups.get_mut(place) {
                    Some(group) => group.push(number),
                    None => groups.push(vec![number]),
                }
            }
        }
    }
    groups
}

fn pairs(rows: &[&Row], records: &[Record]) -> Outcome<Vec<Unit>> {
    let pair = |members: Vec<usize>| {
        let of = |wanted| {
            let members = members.iter().copied();
            members.filter(move |&member| records[member].label == wanted)
        };
        let found = (
            of(Label::Desirable).next(),
            of(Label::Undesirable).next(),
            members.len(),
        );
        if let (Some(chosen), Some(rejected), 2) = found {
            return Ok(Unit::Pair { chosen, rejected });
        }
        let (id, group) = (&records[members[0]].id, rows[members[0]].group);
        let message = match group {
            0 => {
                format!("record {id:?} has no group, and this loss compares the two records of one")
            }
            group => format!(
                "group {group} (record {id:?}) has {} records with +1 and {} with -1: a pair has one of each",
                of(Label::Desirable).count(),
                of(Label::Undesirable).count(),
            ),
        };
        Err(Failure::new(HALO_E_DATA, "record.group", message).example(members[0]))
    };
    groups(rows).into_iter().map(pair).collect()
}
