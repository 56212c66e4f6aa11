//! Why a call failed, before it is written into the host's record.

use std::any::Any;
use std::ffi::c_char;

use crate::status::*;

/// Everything a [`halo_error`] says.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: halo_status,
    argument: i32,
    host_code: i32,
    example: i64,
    site: String,
    message: String,
}

/// The result inside the guard.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(
        code: halo_status,
        site: impl Into<String>,
        message: impl Into<String>,
    ) -> Failure {
        Failure {
            code,
            argument: -1,
            host_code: 0,
            example: -1,
            site: site.into(),
            message: message.into(),
        }
    }

    /// Names the parameter of the export, counted from 0.
    pub(crate) fn argument(mut self, argument: usize) -> Failure {
        self.argument = argument as i32;
        self
    }

    /// Names the row, record or line, counted from 0.
    pub(crate) fn example(mut self, example: usize) -> Failure {
        self.example = example as i64;
        self
    }

    /// Keeps what the host's callback returned.
    pub(crate) fn host_code(mut self, code: i32) -> Failure {
        self.host_code = code;
        self
    }

    /// A caught panic. Payloads other than text are forgotten: their destructor may panic again.
    pub(crate) fn panic(payload: Box<dyn Any + Send>) -> Failure {
        let text = match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => match payload.downcast::<&'static str>() {
                Ok(text) => text.to_string(),
                Err(payload) => {
                    std::mem::forget(payload);
                    "no message".into()
                }
            },
        };
        let message = format!("a defect of the library was caught: {text}");
        Failure::new(HALO_E_PANIC, "library", message)
    }

    /// The record of it, for a caller that knows all its fields.
    pub(crate) fn record(&self) -> halo_error {
        halo_error {
            struct_size: size_of::<halo_error>() as u32,
            code: self.code,
            argument: self.argument,
            host_code: self.host_code,
            example: self.example,
            site: text(&self.site),
            message: text(&self.message),
        }
    }
}

/// NUL-terminated, cut between characters.
fn text<const N: usize>(text: &str) -> [c_char; N] {
    let mut end = text.len().min(N - 1);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(text[..end].bytes()) {
        // A NUL within would end the text early.
        *to = if from == 0 { b' ' } else { from } as c_char;
    }
    out
}

impl From<halo_loss::Error> for Failure {
    fn from(error: halo_loss::Error) -> Failure {
        let code = match &error {
            error if error.is_unknown() => HALO_E_NOT_FOUND,
            error if error.is_nonfinite() => HALO_E_NONFINITE,
            error if error.is_data() => HALO_E_DATA,
            _ => HALO_E_INVALID_ARGUMENT,
        };
        let site = match error.argument() {
            Some(argument) => format!("loss.{argument}"),
            None => "loss.name".into(),
        };
        let message = match error.nearest() {
            // first, because a long list of the known ones may be cut
            Some(nearest) => format!("did you mean {nearest:?}? {error}"),
            None => error.to_string(),
        };
        let failure = Failure::new(code, site, message);
        match error.row() {
            Some(row) => failure.example(row),
            None => failure,
        }
    }
}

impl From<halo_train::Error> for Failure {
    fn from(error: halo_train::Error) -> Failure {
        let (code, site) = match &error {
            error if error.is_peer() => (HALO_E_PEER, "trainer.peer"),
            error if error.is_host() => (HALO_E_CALLBACK, "trainer.host"),
            error if error.is_numeric() => (HALO_E_NONFINITE, "trainer.numbers"),
            error if error.is_data() => (HALO_E_DATA, "trainer.data"),
            error if error.is_state() => (HALO_E_STATE, "trainer.state"),
            error if error.is_protocol() => (HALO_E_STATE, "trainer.answer"),
            _ => (HALO_E_INVALID_ARGUMENT, "trainer.config"),
        };
        let failure = Failure::new(code, site, error.to_string()).host_code(error.host_code());
        match error.record() {
            Some(record) => failure.example(record),
            None => failure,
        }
    }
}

impl From<halo_kernels::Error> for Failure {
    fn from(error: halo_kernels::Error) -> Failure {
        let code = match &error {
            error if error.is_index() => HALO_E_INVALID_ARGUMENT,
            error if error.is_out_of_memory() => HALO_E_MEMORY,
            error if error.is_device() => HALO_E_DEVICE,
            _ => HALO_E_SHAPE,
        };
        Failure::new(code, "head", error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters_and_always_ends() {
        let cut: [c_char; 4] = text("aéé");
        assert_eq!(
            cut,
            [b'a' as c_char, 0xC3_u8 as c_char, 0xA9_u8 as c_char, 0]
        );
        let cut: [c_char; 4] = text("abé");
        assert_eq!(cut[2..], [0, 0]);
        let whole: [c_char; 4] = text("a\0b");
        assert_eq!(whole, [b'a' as c_char, b' ' as c_char, b'b' as c_char, 0]);
    }
}
