//! Names the shared library as its users must find it, in development builds too.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if target == "linux" {
        let (major, minor) = (
            env!("CARGO_PKG_VERSION_MAJOR"),
            env!("CARGO_PKG_VERSION_MINOR"),
        );
        // Before 1.0 a minor version may break: it is part of the name.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libhalo.so.{major}.{minor}");
        // Destructors of thread-local values outlive dlclose, and so do exported tensors.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
