//! Compiles the CUDA sources: as C++ for the emulated GPU (feature `emulator`).

#[cfg(feature = "emulator")]
mod emulator {
    use std::path::{Path, PathBuf};
    use std::{env, fs};

    /// One object for each T: all kernels, and a table of them by exported name.
    pub(crate) fn build() {
        println!("cargo:rerun-if-env-changed=HALO_EMULATOR_SANITIZE");
        let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
        let root = Path::new("src")
            .canonicalize()
            .expect("the sources are there");
        let mut kernels = Vec::new();
        collect(&root, &mut kernels);
        kernels.sort();
        let mut build = cc::Build::new();
        build
            .cpp(true)
            .std("c++17")
            .opt_level(2)
            .debug(true)
            .warnings(false);
        build.flag_if_supported("-fno-strict-aliasing");
        for (define, suffix) in [("HALO_F32", "f32"), ("HALO_BF16", "bf16")] {
            let entries: String = kernels
                .iter()
                .map(|name| {
                    format!(
                        "    {{\"{name}_{suffix}\", &emulator::Body<&{name}_{suffix}>::run}},\n"
                    )
                })
                .collect();
            let source = format!(
                "#define HALO_EMULATOR\n#define {define}\n#include \"{}\"\n\n\
                 struct Entry {{ const char* name; void (*run)(void**); }};\n\
                 static const Entry entries[] = {{\n{entries}}};\n\n\
                 static thread_local std::string fault;\n\n\
                 extern \"C\" const char* halo_emulator_launch_{suffix}(const char* name, const unsigned* grid, unsigned block, size_t shared, void** args, int* found) {{\n\
                 \x20   for (const Entry& entry : entries) {{\n\
                 \x20       if (std::strcmp(entry.name, name) != 0) continue;\n\
                 \x20       *found = 1;\n\
                 \x20       fault = emulator::launch(entry.run, grid, block, shared, args);\n\
                 \x20       return fault.empty() ? nullptr : fault.c_str();\n\
                 \x20   }}\n\
                 \x20   return nullptr;\n}}\n{}",
                root.join("gpu/kernels.cu").display(),
                if suffix == "f32" { DOOR } else { "" },
            );
            let file = out.join(format!("kernels_{suffix}.cpp"));
            fs::write(&file, source).expect("OUT_DIR can be written");
            build.file(file);
        }
        println!("cargo:rustc-check-cfg=cfg(halo_sanitize)");
        if env::var_os("HALO_EMULATOR_SANITIZE").is_some() {
            build
                .flag("-fsanitize=address,undefined")
                .flag("-fno-omit-frame-pointer");
            println!("cargo:rustc-cfg=halo_sanitize");
            for library in ["asan", "ubsan"] {
                println!("cargo:rustc-link-lib={library}");
            }
        }
        build.compile("halo_emulator");
    }

    /// Tries the kernels of one T, then those of the other.
    const DOOR: &str = "
extern \"C\" const char* halo_emulator_launch_bf16(const char*, const unsigned*, unsigned, size_t, void**, int*);
extern \"C\" const char* halo_emulator_launch(const char* name, const unsigned* grid, unsigned block, size_t shared, void** args, int* found) {
    *found = 0;
    const char* fault = halo_emulator_launch_f32(name, grid, block, shared, args, found);
    return *found ? fault : halo_emulator_launch_bf16(name, grid, block, shared, args, found);
}
";

    /// The names in `KERNEL(name)` of every source below a folder.
    fn collect(folder: &Path, kernels: &mut Vec<String>) {
        println!("cargo:rerun-if-changed={}", folder.display());
        for entry in fs::read_dir(folder)
            .expect("the sources can be listed")
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                collect(&path, kernels);
            } else if path
                .extension()
                .is_some_and(|e| e == "cu" || e == "cuh" || e == "h")
            {
                println!("cargo:rerun-if-changed={}", path.display());
                let text = fs::read_to_string(&path).expect("a source can be read");
                let names = text.lines().filter_map(|line| line.strip_prefix("KERNEL("));
                kernels.extend(names.filter_map(|line| Some(line.split_once(')')?.0.to_string())));
            }
        }
    }
}

fn main() {
    println!("cargo:rustc-check-cfg=cfg(halo_sanitize)");
    #[cfg(feature = "emulator")]
    emulator::build();
}
