//! halo-loss
