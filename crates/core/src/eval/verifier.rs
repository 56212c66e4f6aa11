//! Built-in judges: domains in which a small program knows the truth.

/// A program that tells right answers from wrong ones.
pub trait Verifier: Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// Whether the answer is right, or acceptable, for the prompt.
    fn judge(&self, prompt: &str, completion: &str) -> bool;
}

/// Every built-in verifier.
pub const VERIFIERS: &[&dyn Verifier] = &[];

/// The verifier of this name.
pub fn find(name: &str) -> Option<&'static dyn Verifier> {
    VERIFIERS
        .iter()
        .copied()
        .find(|verifier| verifier.name() == name)
}
