//! halo-kernels
