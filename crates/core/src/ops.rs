//! The ops over arrays: each asks where its arrays are and hands their memory to `halo-kernels`. The model above knows no device.

pub(crate) mod attention;
pub(crate) mod elementwise;
pub(crate) mod embedding;
pub(crate) mod head;
mod indices;
pub(crate) mod kv_cache;
pub(crate) mod matmul;
pub(crate) mod optim;
pub(crate) mod rms_norm;
pub(crate) mod rope;
pub(crate) mod swiglu;

pub(crate) use indices::Indices;
