//! Another static library made with Rust, whole-program optimised, with a standard library and a panic hook of its own.
#![crate_type = "staticlib"]

/// 1 when its own panic was caught here, and its own hook saw it.
#[unsafe(no_mangle)]
pub extern "C" fn other_panics() -> i32 {
    use std::sync::atomic::{AtomicI32, Ordering};
    static SEEN: AtomicI32 = AtomicI32::new(0);
    std::panic::set_hook(Box::new(|_| {
        SEEN.fetch_add(1, Ordering::Relaxed);
    }));
    let caught = std::panic::catch_unwind(|| std::hint::black_box(Vec::<i32>::new())[3]).is_err();
    i32::from(caught && SEEN.swap(0, Ordering::Relaxed) == 1)
}
