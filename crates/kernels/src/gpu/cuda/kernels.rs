//! The compiled kernels: PTX in the binary, translated by the driver for the device that is there, once a process.

use std::collections::HashMap;
use std::ffi::{CString, c_void};

use cudarc::driver::result::{function, module};
use cudarc::driver::sys::{self, CUfunction, CUfunction_attribute, CUjit_option, CUmodule};

use super::failed;
use crate::Error;

pub(super) const OP: &str = "gpu::launch";

/// One module for each T; empty where the build found no nvcc.
const MODULES: [(&str, &str); 2] = [
    (
        "_f32",
        include_str!(concat!(env!("OUT_DIR"), "/kernels_f32.ptx")),
    ),
    (
        "_bf16",
        include_str!(concat!(env!("OUT_DIR"), "/kernels_bf16.ptx")),
    ),
];

/// What a block may have of shared memory without asking.
const SHARED: usize = 48 << 10;

/// Whether this binary has kernels at all.
pub(super) fn compiled() -> Result<(), Error> {
    if MODULES.iter().all(|(_, ptx)| !ptx.is_empty()) {
        return Ok(());
    }
    Err(Error::device(
        "gpu::cuda",
        "this binary was built with the feature `cuda` but without nvcc, so it has no kernels: build it where nvcc (CUDA 12 \
         or 13) is on PATH, in $CUDA_HOME/bin, or named by $NVCC"
            .into(),
    ))
}

/// The release of CUDA that the kernels were compiled with: an older driver cannot read its PTX.
pub(super) fn release() -> (i32, i32) {
    parse_release(MODULES[0].1).unwrap_or((0, 0))
}

/// Functions by name. Their modules are never unloaded: they go with the context.
pub(super) struct Kernels {
    modules: [Option<CUmodule>; 2],
    functions: HashMap<String, Function>,
    /// Bytes of shared memory that a block may ask for on this device.
    limit: usize,
}

struct Function {
    raw: CUfunction,
    /// Static shared memory, which counts against the same limits.
    taken: usize,
    /// Dynamic shared memory that a launch may have without raising.
    allowed: usize,
}

impl Kernels {
    pub(super) fn new(limit: usize) -> Kernels {
        Kernels {
            modules: [None; 2],
            functions: HashMap::new(),
            limit,
        }
    }

    /// A kernel by its full name, ready for a launch with `shared` bytes of dynamic shared memory.
    pub(super) fn function(&mut self, name: &str, shared: usize) -> Result<CUfunction, Error> {
        if !self.functions.contains_key(name) {
            let function = self.load(name)?;
            self.functions.insert(name.to_string(), function);
        }
        let limit = self.limit;
        let Some(function) = self.functions.get_mut(name) else {
            return Err(unknown(name));
        };
        if shared > function.allowed {
            function.raise(name, shared, limit)?;
        }
        Ok(function.raw)
    }

    fn load(&mut self, name: &str) -> Result<Function, Error> {
        let module = MODULES
            .iter()
            .position(|(suffix, _)| name.ends_with(suffix))
            .ok_or_else(|| unknown(name))?;
        let raw = match self.modules[module] {
            Some(raw) => raw,
            None => translate(MODULES[module].1)?,
        };
        self.modules[module] = Some(raw);
        let text = CString::new(name).map_err(|_| unknown(name))?;
        // SAFETY: the module is loaded and stays so.
        let raw = unsafe { module::get_function(raw, text) }
            .map_err(failed(OP, &format!("finding the kernel {name}")))?;
        // SAFETY: the function was just found.
        let taken = unsafe {
            function::get_function_attribute(
                raw,
                CUfunction_attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES,
            )
        }
        .map_err(failed(OP, "a kernel's shared memory"))? as usize;
        Ok(Function {
            raw,
            taken,
            allowed: SHARED.saturating_sub(taken),
        })
    }
}

impl Function {
    /// To all that the device has: once for each function.
    fn raise(&mut self, name: &str, shared: usize, limit: usize) -> Result<(), Error> {
        let most = limit.saturating_sub(self.taken);
        if shared > most {
            return Err(Error::device(
                OP,
                format!(
                    "{name} needs {shared} bytes of shared memory a block, and this device has {most}"
                ),
            ));
        }
        // SAFETY: the function is of a loaded module.
        unsafe {
            function::set_function_attribute(
                self.raw,
                CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                most as i32,
            )
        }
        .map_err(failed(OP, "raising a kernel's shared memory"))?;
        self.allowed = most;
        Ok(())
    }
}

/// PTX to the device's own code. The driver keeps the result on disk, so that it takes seconds only the first time.
fn translate(ptx: &str) -> Result<CUmodule, Error> {
    let text = CString::new(ptx)
        .map_err(|_| Error::device(OP, "the kernels' PTX holds a zero byte".into()))?;
    let mut log = vec![0u8; 16 << 10];
    let mut options = [
        CUjit_option::CU_JIT_ERROR_LOG_BUFFER,
        CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
    ];
    // The size travels as the value of the pointer.
    let mut values = [
        log.as_mut_ptr().cast::<c_void>(),
        std::ptr::without_provenance_mut(log.len()),
    ];
    let mut module = std::ptr::null_mut();
    // SAFETY: the text ends with a zero; two options with two values, of which the log outlives the call.
    let outcome = unsafe {
        sys::cuModuleLoadDataEx(
            &mut module,
            text.as_ptr().cast(),
            options.len() as u32,
            options.as_mut_ptr(),
            values.as_mut_ptr(),
        )
    };
    outcome.result().map_err(|error| {
        let said = log.split(|&byte| byte == 0).next().unwrap_or_default();
        let said = String::from_utf8_lossy(said);
        let what = format!("translating the kernels for this device [{}]", said.trim());
        failed(OP, &what)(error)
    })?;
    Ok(module)
}

fn unknown(name: &str) -> Error {
    Error::device(OP, format!("there is no kernel named {name:?}"))
}

/// From the comment at the head of nvcc's output: "// Cuda compilation tools, release 13.0, V13.0.88".
fn parse_release(ptx: &str) -> Option<(i32, i32)> {
    let (_, after) = ptx.split_once("release ")?;
    let (major, after) = after.split_once('.')?;
    let minor = after.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_read_from_the_head() {
        let head = "//\n// Generated by NVIDIA NVVM Compiler\n// Cuda compilation tools, release 12.8, V12.8.93\n.version 8.7\n";
        assert_eq!(parse_release(head), Some((12, 8)));
        assert_eq!(parse_release(".version 8.7"), None);
    }

    #[test]
    fn compiled_kernels_say_their_release() {
        assert_eq!(compiled().is_ok(), release() != (0, 0));
    }
}
