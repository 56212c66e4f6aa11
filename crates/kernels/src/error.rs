use crate::gpu::Dtype;
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
    Dtype {
        op: &'static str,
        argument: &'static str,
        given: Dtype,
        expected: Dtype,
    },
    Device {
        op: &'static str,
        message: String,
    },
    OutOfMemory {
        op: &'static str,
        bytes: usize,
        free: usize,
        total: usize,
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

    /// A device refused or failed, or is not there.
    pub fn is_device(&self) -> bool {
        matches!(self.0, Kind::Device { .. })
    }

    /// A device has too little memory; nothing else is lost, and smaller work may go on.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self.0, Kind::OutOfMemory { .. })
    }

    pub(crate) fn dtype(
        op: &'static str,
        argument: &'static str,
        given: Dtype,
        expected: Dtype,
    ) -> Error {
        Error(Kind::Dtype {
            op,
            argument,
            given,
            expected,
        })
    }

    pub(crate) fn device(op: &'static str, message: String) -> Error {
        Error(Kind::Device { op, message })
    }

    // A build without a device never runs out of its memory.
    #[cfg_attr(not(any(feature = "cuda", feature = "emulator")), expect(dead_code))]
    pub(crate) fn out_of_memory(
        op: &'static str,
        bytes: usize,
        free: usize,
        total: usize,
    ) -> Error {
        Error(Kind::OutOfMemory {
            op,
            bytes,
            free,
            total,
        })
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
            Kind::Dtype {
                op,
                argument,
                given,
                expected,
            } => write!(f, "{op}: `{argument}` is {given:?}, expected {expected:?}"),
            Kind::Device { op, message } => write!(f, "{op}: {message}"),
            Kind::OutOfMemory {
                op,
                bytes,
                free,
                total,
            } => write!(
                f,
                "{op}: out of device memory: asked for {bytes} bytes, {free} of {total} are free"
            ),
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
