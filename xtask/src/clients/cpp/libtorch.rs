//! halo/torch.hpp with PyTorch's C++ library, as it comes in the wheel or by itself.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use super::super::{Library, output, there};
use super::STRICT;
use crate::shell::{Outcome, root};

/// The library's folder, with include/ and lib/.
const FOLDER: &str = "HALO_LIBTORCH";
/// A Python that has torch.
const PYTHON: &str = "HALO_PYTHON";
const EXPECTED: &str = "testdata/fixtures/libtorch/kto.txt";
/// The folder, and which of libstdc++'s two ABIs the library was built with.
const ASK: &str = "import os, torch; print(os.path.dirname(os.path.dirname(torch.utils.cmake_prefix_path))); \
                   print(int(torch.compiled_with_cxx11_abi()))";

struct Torch {
    folder: PathBuf,
    new_abi: bool,
}

pub(super) fn run(library: &Library) -> Outcome {
    let Some(torch) = Torch::find() else {
        println!("  left out: libtorch ({FOLDER}, or torch for {PYTHON} or python3)");
        return Ok(());
    };
    if !there("g++") {
        println!("  left out: libtorch needs g++");
        return Ok(());
    }
    let program = torch.compile(library)?;
    let mut command = Command::new(program);
    command.current_dir(root()).arg(EXPECTED);
    print!("  {}", output(&mut command)?);
    Ok(())
}

impl Torch {
    fn find() -> Option<Torch> {
        if let Some(folder) = env::var_os(FOLDER) {
            let folder = PathBuf::from(folder);
            // Since 2.7 every build of PyTorch has the new one.
            return Some(Torch {
                folder,
                new_abi: true,
            });
        }
        let python = env::var_os(PYTHON).unwrap_or_else(|| "python3".into());
        let answer = output(Command::new(python).args(["-c", ASK])).ok()?;
        let mut lines = answer.lines();
        let folder = PathBuf::from(lines.next()?);
        let new_abi = lines.next()? == "1";
        let whole = folder.join("include/torch").is_dir();
        whole.then_some(Torch { folder, new_abi })
    }

    fn compile(&self, library: &Library) -> Result<PathBuf, String> {
        let path = |part: &str| self.folder.join(part).display().to_string();
        let (include, api) = (path("include"), path("include/torch/csrc/api/include"));
        let abi = format!("-D_GLIBCXX_USE_CXX11_ABI={}", u8::from(self.new_abi));
        let lib = path("lib");
        let rpath = format!("-Wl,-rpath,{lib}");
        // PyTorch's own headers are not held to our warnings.
        let headers = ["-std=c++20", "-isystem", &include, "-isystem", &api, &abi];
        let flags = [STRICT, &headers].concat();
        let sources = [
            "bindings/cpp/libtorch.cpp",
            "-L",
            &lib,
            &rpath,
            // What the wheel's library needs of CUDA it finds by its own path; nothing of it is called.
            "-Wl,--allow-shlib-undefined",
            "-ltorch_cpu",
            "-lc10",
        ];
        library.compile("g++", &flags, &sources, "libtorch_cpp")
    }
}
