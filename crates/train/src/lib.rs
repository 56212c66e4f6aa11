//! halo-train
