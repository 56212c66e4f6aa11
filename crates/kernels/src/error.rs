use std::fmt;

/// Why an op refused its arguments. Nothing was written when an op returns this.
///
/// The arguments of a kernel come from code, not from users, so every one of these is a programmer's mistake; they are
/// values, not panics, because the host behind the C ABI must survive its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Length {
        op: &'static str,
        argument: &'static str,
        given: usize,
        expected: usize,
    },
    Index {
        op: &'static str,
        argument: &'static str,
        at: usize,
        given: usize,
        limit: usize,
    },
    Layout {
        op: &'static str,
        segment: usize,
        reason: &'static str,
    },
    Shape {
        op: &'static str,
        reason: &'static str,
    },
}

impl Error {
    /// A slice has the wrong number of elements.
    pub fn is_length(&self) -> bool {
        matches!(self.0, Kind::Length { .. })
    }

    /// A token, row, position or target lies outside its table.
    pub fn is_index(&self) -> bool {
        matches!(self.0, Kind::Index { .. })
    }

    /// The segments of a pack contradict each other.
    pub fn is_layout(&self) -> bool {
        matches!(self.0, Kind::Layout { .. })
    }

    /// Dimensions contradict each other: heads that do not divide, an odd head dimension, an overlapping view.
    pub fn is_shape(&self) -> bool {
        matches!(self.0, Kind::Shape { .. })
    }

    pub(crate) fn layout(op: &'static str, segment: usize, reason: &'static str) -> Error {
        Error(Kind::Layout {
            op,
            segment,
            reason,
        })
    }

    pub(crate) fn shape(op: &'static str, reason: &'static str) -> Error {
        Error(Kind::Shape { op, reason })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Length {
                op,
                argument,
                given,
                expected,
            } => write!(
                f,
                "{op}: `{argument}` has {given} elements, expected {expected}"
            ),
            Kind::Index {
                op,
                argument,
                at,
                given,
                limit,
            } => write!(f, "{op}: {argument}[{at}] = {given} is outside 0..{limit}"),
            Kind::Layout {
                op,
                segment,
                reason,
            } => write!(f, "{op}: segment {segment}: {reason}"),
            Kind::Shape { op, reason } => write!(f, "{op}: {reason}"),
        }
    }
}

impl std::error::Error for Error {}

/// `given` elements must be exactly `expected`.
pub(crate) fn length(
    op: &'static str,
    argument: &'static str,
    given: usize,
    expected: usize,
) -> Result<(), Error> {
    if given == expected {
        return Ok(());
    }
    Err(Error(Kind::Length {
        op,
        argument,
        given,
        expected,
    }))
}

/// Every element of `values` must be below `limit`.
pub(crate) fn indices(
    op: &'static str,
    argument: &'static str,
    values: &[u32],
    limit: usize,
) -> Result<(), Error> {
    match values.iter().position(|&v| v as usize >= limit) {
        None => Ok(()),
        Some(at) => Err(Error(Kind::Index {
            op,
            argument,
            at,
            given: values[at] as usize,
            limit,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_op_argument_and_expectation() {
        let e = length("swiglu::forward", "up", 3, 4).unwrap_err();
        assert!(e.is_length());
        assert_eq!(
            e.to_string(),
            "swiglu::forward: `up` has 3 elements, expected 4"
        );
        let e = indices("embedding::forward", "ids", &[1, 9], 4).unwrap_err();
        assert!(e.is_index());
        assert_eq!(
            e.to_string(),
            "embedding::forward: ids[1] = 9 is outside 0..4"
        );
    }
}
