//! A build without the built-in models: no session can be made, so nothing here can be reached with one.

use std::sync::Arc;

use super::rows::Rows;
use crate::dataset::Records;
use crate::failure::{Failure, Outcome};
use crate::intake::Watch;
use crate::status::*;

/// There is none.
pub(crate) enum Session {}

/// # Errors
/// Always: this build has no sessions.
pub(super) fn here() -> Outcome {
    let message = "this build has no built-in models, text and files: take the full build of libhalo \
                   (cargo build -p halo-ffi --features session)";
    Err(Failure::new(HALO_E_UNSUPPORTED, "library.session", message))
}

impl Session {
    pub(super) fn new(_config: &str) -> Outcome<Session> {
        here().and_then(|()| Err(Failure::new(HALO_E_UNSUPPORTED, "library.session", "")))
    }

    pub(super) fn of_this_process(&self) -> Outcome {
        match *self {}
    }

    pub(super) fn attach(&mut self, _role: &str, _records: &Arc<Records>) -> Outcome {
        match *self {}
    }

    pub(super) fn train(&mut self, _watch: &Watch) -> Outcome {
        match *self {}
    }

    pub(super) fn evaluate(&mut self, _watch: &Watch) -> Outcome {
        match *self {}
    }

    pub(super) fn set(&mut self, _key: &str, _value: &str) -> Outcome {
        match *self {}
    }

    pub(super) fn metrics(&self) -> Outcome<String> {
        match *self {}
    }

    pub(super) fn describe(&self) -> Outcome<String> {
        match *self {}
    }

    pub(super) fn tokenize(&self, _text: &str, _continuation: bool) -> Outcome<Vec<u32>> {
        match *self {}
    }

    pub(super) fn score(
        &mut self,
        _rows: &Rows,
        _reference: bool,
        _by_token: bool,
    ) -> Outcome<Vec<f64>> {
        match *self {}
    }

    pub(super) fn generate(
        &mut self,
        _prompt: &str,
        _options: &str,
        _watch: &Watch,
    ) -> Outcome<String> {
        match *self {}
    }

    pub(super) fn save(&mut self, _folder: &str) -> Outcome {
        match *self {}
    }

    pub(super) fn load(&mut self, _folder: &str) -> Outcome {
        match *self {}
    }

    pub(super) fn tensor(&self, _name: &str) -> Outcome<(Vec<usize>, Vec<f32>)> {
        match *self {}
    }

    pub(super) fn export(&self, _folder: &str, _format: &str) -> Outcome {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::{null, null_mut};

    use super::super::*;

    #[test]
    fn without_the_feature_every_function_answers_unsupported() {
        let mut err = halo_error {
            struct_size: size_of::<halo_error>() as u32,
            // SAFETY: zeros are a value of it.
            ..unsafe { std::mem::zeroed() }
        };
        let (s, c, e) = (null_mut(), null(), &raw mut err);
        // SAFETY: NULL may be passed for everything.
        let answers = unsafe {
            [
                halo_session_new(c"{}".as_ptr(), null_mut(), e),
                halo_session_attach(s, c, null(), e),
                halo_session_train(s, null(), e),
                halo_session_evaluate(s, null(), e),
                halo_session_set(s, c, c, e),
                halo_session_metrics(s, null_mut(), e),
                halo_session_describe(s, null_mut(), e),
                halo_session_tokenize(s, c, 0, 0, null_mut(), e),
                halo_session_score(s, 0, null(), null(), null(), 0, null_mut(), 0, e),
                halo_session_generate(s, c, 0, c, null(), null_mut(), e),
                halo_session_save(s, c, e),
                halo_session_load(s, c, e),
                halo_session_export(s, c, c, e),
                tensor::halo_session_tensor_export(s, c, null_mut(), e),
            ]
        };
        assert_eq!(answers, [HALO_E_UNSUPPORTED; 14]);
        // SAFETY: NULL is nothing to free.
        unsafe { halo_session_free(s) };
        let message = err.message.map(|c| c as u8);
        let message = String::from_utf8_lossy(&message).into_owned();
        assert!(message.contains("--features session"), "{message}");
    }
}
