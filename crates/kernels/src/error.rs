use std::fmt;

/// Why an op refused its arguments, in which case nothing was written, or what a GPU had to say.
///
/// The arguments of a kernel come from code, not from users, so a refusal is a programmer's mistake; it is a value, not a
/// panic, because the host behind the C ABI must survive its own.
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
    Device {
        op: &'static str,
        message: String,
    },
    Memory {
        op: &'static str,
        asked: usize,
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

    /// The GPU, its driver or its libraries: missing, too old, or failing in the middle of the work.
    pub fn is_device(&self) -> bool {
        matches!(self.0, Kind::Device { .. })
    }

    /// The GPU has no memory left for a buffer. Nothing else is lost: with less asked for, the work can go on.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self.0, Kind::Memory { .. })
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

    pub(crate) fn device(op: &'static str, message: String) -> Error {
        Error(Kind::Device { op, message })
    }

    /// All three in bytes.
    #[cfg_attr(
        not(any(feature = "cuda", feature = "emulator")),
        expect(dead_code, reason = "only a GPU runs out of memory this way")
    )]
    pub(crate) fn out_of_memory(
        op: &'static str,
        asked: usize,
        free: usize,
        total: usize,
    ) -> Error {
        Error(Kind::Memory {
            op,
            asked,
            free,
            total,
        })
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
            Kind::Device { op, message } => write!(f, "{op}: {message}"),
            Kind::Memory {
                op,
                asked,
                free,
                total,
            } => write!(
                f,
                "{op}: out of memory: {} asked for, {} free of the device's {}",
                Bytes(*asked),
                Bytes(*free),
                Bytes(*total)
            ),
        }
    }
}

impl std::error::Error for Error {}

/// A size as a person reads it.
struct Bytes(usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 1 << 30 => write!(f, "{:.2} GiB", bytes as f64 / (1u64 << 30) as f64),
            bytes if bytes >= 1 << 20 => write!(f, "{:.1} MiB", bytes as f64 / (1u64 << 20) as f64),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

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
        let e = Error(Kind::Memory {
            op: "gpu::alloc",
            asked: 3 << 30,
            free: 300 << 20,
            total: 80 << 30,
        });
        assert!(e.is_out_of_memory() && !e.is_device());
        assert_eq!(
            e.to_string(),
            "gpu::alloc: out of memory: 3.00 GiB asked for, 300.0 MiB free of the device's 80.00 GiB"
        );
    }
}
