//! The kernels as C++ for the emulated GPU, and a registry by which they are launched by name.

use std::fs;
use std::path::Path;

use crate::TYPES;

/// Set to 1: compiled with the address and undefined-behaviour sanitizers.
const SANITIZE: &str = "HALO_EMULATOR_SANITIZE";

/// Compiles and links libhalo_emulator.a.
pub(crate) fn compile(out: &Path) -> Result<(), String> {
    println!("cargo::rerun-if-env-changed={SANITIZE}");
    let sanitize = std::env::var_os(SANITIZE).is_some_and(|value| value == "1");
    let mut build = compiler(sanitize);
    for (suffix, macro_name) in TYPES {
        let names = kernels(macro_name, suffix, sanitize)?;
        let source = out.join(format!("emulator_{suffix}.cpp"));
        let text = format!("#define {macro_name}\n{}", registry(&names, suffix));
        fs::write(&source, text).map_err(|error| format!("{}: {error}", source.display()))?;
        build.file(&source);
    }
    // One library: its two halves call each other.
    build
        .try_compile("halo_emulator")
        .map_err(|error| error.to_string())?;
    if sanitize {
        println!("cargo::rustc-cfg=halo_sanitize");
        link_sanitizers()?;
    }
    Ok(())
}

fn compiler(sanitize: bool) -> cc::Build {
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        .include("src/gpu")
        .define("HALO_EMULATOR", None)
        .warnings(false)
        .debug(true)
        .flag_if_supported("-fno-strict-aliasing")
        // No fused multiplication and addition that the source does not ask for: the same sums on every processor.
        .flag_if_supported("-ffp-contract=off")
        .flag("-pthread");
    if sanitize {
        build
            .flag("-fsanitize=address,undefined")
            .flag("-fno-sanitize-recover=all")
            .flag("-fno-omit-frame-pointer");
    }
    build
}

/// The kernels' full names, from the preprocessed source: `extern "C" void NAME_SUFFIX(`. So a kernel that exists for one T
/// only is known for that one.
fn kernels(macro_name: &str, suffix: &str, sanitize: bool) -> Result<Vec<String>, String> {
    let text = compiler(sanitize)
        .define(macro_name, None)
        .file("src/gpu/kernels.cu")
        // A file ending in .cu is C++ to no compiler but NVIDIA's.
        .flag("-xc++")
        .try_expand()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&text);
    let mut names: Vec<String> = text
        .split("extern \"C\"")
        .skip(1)
        .filter_map(|after| {
            let after = after.trim_start().strip_prefix("void")?.trim_start();
            let end = after.find(|c: char| !c.is_alphanumeric() && c != '_')?;
            let name = &after[..end];
            name.ends_with(&format!("_{suffix}"))
                .then(|| name.to_string())
        })
        .collect();
    names.sort();
    names.dedup();
    match names.is_empty() {
        true => Err(format!(
            "no KERNEL with the suffix _{suffix} in src/gpu/kernels.cu"
        )),
        false => Ok(names),
    }
}

/// What Rust calls: the kernels of one T, then those of the other.
const DOOR: &str = r#"
extern "C" const char* halo_emulator_launch_bf16(const char*, const unsigned*, unsigned, size_t, void**, int*);

extern "C" const char* halo_emulator_launch(const char* name, const unsigned* grid, unsigned block, size_t shared, void** args, int* found) {
    const char* fault = halo_emulator_launch_f32(name, grid, block, shared, args, found);
    return *found ? fault : halo_emulator_launch_bf16(name, grid, block, shared, args, found);
}
"#;

/// The whole translation unit: the kernels, then what launches them by name.
fn registry(names: &[String], suffix: &str) -> String {
    let entries: String = names
        .iter()
        .map(|name| format!("    {{\"{name}\", emulator::Body<{name}>::run}},\n"))
        .collect();
    let door = if suffix == TYPES[0].0 { DOOR } else { "" };
    format!(
        r#"#include "kernels.cu"

static const struct {{
    const char* name;
    void (*body)(void**);
}} KERNELS[] = {{
{entries}}};

static thread_local std::string fault;

// Null, or what went wrong, valid until this thread's next launch; `found` says whether there is a kernel of that name.
extern "C" const char* halo_emulator_launch_{suffix}(const char* name, const unsigned* grid, unsigned block, size_t shared, void** args, int* found) {{
    *found = 0;
    for (auto& kernel : KERNELS) {{
        if (std::strcmp(kernel.name, name) != 0) continue;
        *found = 1;
        fault = emulator::launch(kernel.body, grid, block, shared, args);
        return fault.empty() ? nullptr : fault.c_str();
    }}
    return nullptr;
}}
{door}"#
    )
}

/// The sanitizers' libraries lie beside the compiler's own, where the linker that rustc calls does not look first.
fn link_sanitizers() -> Result<(), String> {
    let compiler = cc::Build::new().cpp(true).get_compiler();
    for library in ["asan", "ubsan"] {
        let name = format!("-print-file-name=lib{library}.so");
        let output = compiler
            .to_command()
            .arg(name)
            .output()
            .map_err(|error| error.to_string())?;
        let path = String::from_utf8_lossy(&output.stdout).trim().to_string();
        if let Some(folder) = Path::new(&path).parent().filter(|folder| folder.is_dir()) {
            println!("cargo::rustc-link-search=native={}", folder.display());
        }
        println!("cargo::rustc-link-lib=dylib={library}");
    }
    Ok(())
}
