//! The threads that heavy work runs on: a pool of our own, since rayon's default one reads the environment, made anew in a forked
//! child, which inherits the memory of a pool but none of its threads.

use std::cell::Cell;
use std::sync::{Arc, Mutex};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::failure::{Failure, Outcome};
use crate::status::*;

/// Deep enough for every loop of the engine; said here, because the default reads the environment.
const STACK: usize = 4 << 20;

thread_local! {
    static WORKER: Cell<bool> = const { Cell::new(false) };
}

struct Pool {
    process: u32,
    threads: Arc<ThreadPool>,
}

static POOL: Mutex<Option<Pool>> = Mutex::new(None);
static THREADS: Mutex<usize> = Mutex::new(0);

/// Whether this thread belongs to the pool: its panics are caught and reported by the call that they serve.
pub(crate) fn is_worker() -> bool {
    WORKER.get()
}

/// Sets how many threads there will be; 0 stands for as many as cores.
///
/// # Errors
/// The pool is at work already.
pub(crate) fn configure(threads: usize) -> Outcome {
    if POOL.lock().unwrap_or_else(|e| e.into_inner()).is_some() {
        let message = "threads are fixed by the first work: configure the runtime before it";
        return Err(Failure::new(HALO_E_STATE, "runtime.threads", message));
    }
    *THREADS.lock().unwrap_or_else(|e| e.into_inner()) = threads;
    Ok(())
}

/// Runs `work` on the pool.
///
/// # Errors
/// The system gives no threads; what `work` says.
pub(crate) fn run<T: Send>(work: impl FnOnce() -> Outcome<T> + Send) -> Outcome<T> {
    pool()?.install(work)
}

fn pool() -> Outcome<Arc<ThreadPool>> {
    let mut pool = POOL.lock().unwrap_or_else(|e| e.into_inner());
    let process = std::process::id();
    if let Some(pool) = pool.as_ref().filter(|pool| pool.process == process) {
        return Ok(pool.threads.clone());
    }
    // The threads of the parent do not exist here: joining them would wait for ever.
    std::mem::forget(pool.take());
    let wanted = *THREADS.lock().unwrap_or_else(|e| e.into_inner());
    let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let threads = ThreadPoolBuilder::new()
        .num_threads(if wanted == 0 { cores() } else { wanted })
        .stack_size(STACK)
        .thread_name(|index| format!("halo-{index}"))
        .start_handler(|_| WORKER.set(true))
        .build()
        .map_err(|error| {
            let message = format!("the system gives no threads: {error}");
            Failure::new(HALO_E_MEMORY, "runtime.threads", message)
        })?;
    let threads = Arc::new(threads);
    *pool = Some(Pool {
        process,
        threads: threads.clone(),
    });
    Ok(threads)
}
