//! What the engine says is wrong, in the words of the C interface.

use std::error::Error as _;
use std::io::ErrorKind;

use crate::failure::Failure;
use crate::status::*;

impl From<halo_core::Error> for Failure {
    fn from(error: halo_core::Error) -> Failure {
        let site = match error.argument() {
            Some(argument) => format!("session.{argument}"),
            None => "session".into(),
        };
        let failure = match loss(&error) {
            // "did you mean", sites and codes of losses are known where they are made
            Some(loss) => Failure::from(loss.clone()),
            None => Failure::new(code(&error), site, error.to_string()),
        };
        let record = train(&error).and_then(halo_train::Error::record);
        match record {
            Some(record) => failure.example(record),
            None => failure,
        }
    }
}

fn code(error: &halo_core::Error) -> halo_status {
    let kernel = error
        .source()
        .and_then(|source| source.downcast_ref::<halo_kernels::Error>());
    match error {
        error if error.is_io() => match missing(error) {
            true => HALO_E_NOT_FOUND,
            false => HALO_E_IO,
        },
        error if train(error).is_some_and(halo_train::Error::is_numeric) => HALO_E_NONFINITE,
        error if error.is_data() => HALO_E_DATA,
        error if error.is_parameter() => HALO_E_INVALID_ARGUMENT,
        error if error.is_model() => HALO_E_FORMAT,
        error if error.is_state() => HALO_E_STATE,
        error if error.is_unavailable() => HALO_E_UNSUPPORTED,
        _ if kernel.is_some_and(halo_kernels::Error::is_out_of_memory) => HALO_E_MEMORY,
        _ if kernel.is_some_and(halo_kernels::Error::is_device) => HALO_E_DEVICE,
        _ => HALO_E_PANIC,
    }
}

/// Whether a file is not there.
pub(crate) fn missing(error: &halo_core::Error) -> bool {
    error
        .source()
        .and_then(|source| source.downcast_ref::<std::io::Error>())
        .is_some_and(|source| source.kind() == ErrorKind::NotFound)
}

fn loss(error: &halo_core::Error) -> Option<&halo_loss::Error> {
    error.source()?.downcast_ref()
}

fn train(error: &halo_core::Error) -> Option<&halo_train::Error> {
    error.source()?.downcast_ref()
}
