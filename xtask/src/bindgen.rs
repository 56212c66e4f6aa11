//! `bindgen MODULE.wasm FOLDER`: writes JavaScript and TypeScript's types beside a module. A program of its own, because its
//! dependency takes a minute to build and no other task needs it.

#![expect(clippy::print_stderr, reason = "a program prints")]

use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [module, folder] = arguments.as_slice() else {
        eprintln!("bindgen MODULE.wasm FOLDER");
        return ExitCode::from(2);
    };
    let mut bindgen = Bindgen::new();
    let written = bindgen
        .input_path(module)
        .remove_name_section(true)
        .remove_producers_section(true)
        .web(true)
        .and_then(|bindgen| bindgen.typescript(true).out_name("halo").generate(folder));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bindgen {module}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
