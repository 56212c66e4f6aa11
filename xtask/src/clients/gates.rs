//! What libhalo promises to every program, proved on the library itself: its symbols and layouts, its answers to bad arguments,
//! its manners, and that it stands beside other libraries and versions.
//!
//! The sources are in crates/ffi/tests/c; the programs of bad arguments and of the layout are written here from halo_api.json.

mod arguments;
mod cases;
mod neighbours;
mod programs;
mod symbols;

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use super::{Library, there};
use crate::dist::{self, link};
use crate::shell::{Outcome, root};

/// Where the sources of the tests are.
const SOURCES: &str = "crates/ffi/tests/c";

/// A promise, and what proves it.
type Gate = (&'static str, fn(&Bench) -> Outcome);

const GATES: &[Gate] = &[
    ("symbols", symbols::exported),
    ("layout", programs::layout),
    ("bad arguments", programs::arguments),
    ("manners", programs::manners),
    ("sanitizers", programs::sanitized),
    ("valgrind", programs::checked),
    ("old client", programs::old_client),
    ("unloading", programs::unloading),
    ("release symbols", symbols::released),
    ("new client", neighbours::new_client),
    ("two Rust libraries", neighbours::two_libraries),
    ("archive", |bench| {
        dist::rehearse(&bench.linked, &bench.folder)
    }),
];

/// What the gates work on.
struct Bench<'a> {
    library: &'a Library,
    /// The same code as a release links it.
    linked: link::Linked,
    folder: PathBuf,
}

pub(super) fn run(library: &Library) -> Outcome {
    if !cfg!(all(target_os = "linux", target_pointer_width = "64")) || !there("cc") {
        println!("  left out: the gates need ELF, 64 bits and a C compiler (cc)");
        return Ok(());
    }
    let folder = library.folder.join("gates");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let linked = link::make(
        &library.folder.join("lib/libhalo.a"),
        &folder.join("linked"),
    )?;
    let bench = Bench {
        library,
        linked,
        folder,
    };
    for (name, gate) in GATES {
        let began = Instant::now();
        gate(&bench).map_err(|problem| format!("{name}: {problem}"))?;
        println!("  {name}: {:.1} s", began.elapsed().as_secs_f64());
    }
    Ok(())
}

impl Bench<'_> {
    /// Writes a generated source.
    fn write(&self, name: &str, text: &str) -> Result<String, String> {
        let file = self.folder.join(name);
        fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(file.to_string_lossy().into_owned())
    }
}

/// A source of the tests, from the root of the repository.
fn source(name: &str) -> String {
    format!("{SOURCES}/{name}")
}

/// The text of one.
fn text(name: &str) -> Result<String, String> {
    let file = root().join(source(name));
    fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))
}
