//! `cargo xtask clients`: libhalo as its users meet it: built, laid out, and used by programs of other languages.
//!
//! A language whose compiler or runtime is not on this machine is left out with a line that says so.

mod c;
mod cpp;
mod gates;
mod node;
mod python;
mod vectors;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::dist::target_folder;
use crate::shell::{self, Outcome, cargo, root};

/// A language, and what proves that it can use the library.
type Client = (&'static str, fn(&Library) -> Outcome);

const CLIENTS: &[Client] = &[
    ("C", c::run),
    ("C++", cpp::run),
    ("Python", python::run),
    ("Node", node::run),
    ("Gates", gates::run),
];

/// Of the library that the clients are given.
const FEATURES: &str = "session,test-hooks";

/// Where the library was laid out: include/ and lib/, as after an installation.
pub(crate) struct Library {
    pub(crate) folder: PathBuf,
}

/// All clients, or those that are named.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let library = Library::build()?;
    for (language, client) in CLIENTS {
        let named = |argument: &String| argument.eq_ignore_ascii_case(language);
        if arguments.is_empty() || arguments.iter().any(named) {
            println!("{language}:");
            client(&library).map_err(|problem| format!("{language}: {problem}"))?;
        }
    }
    Ok(())
}

impl Library {
    /// The development build, with all features.
    pub(crate) fn build() -> Result<Library, String> {
        shell::run(&mut cargo(&format!(
            "build --package halo-ffi --features {FEATURES}"
        )))?;
        let folder = root().join("target/libhalo");
        let problem = |error: std::io::Error| format!("{}: {error}", folder.display());
        for part in ["lib", "bin"] {
            fs::create_dir_all(folder.join(part)).map_err(problem)?;
        }
        copy(&root().join("include"), &folder.join("include")).map_err(problem)?;
        for name in ["libhalo.so", "libhalo.a"] {
            let to = folder.join("lib").join(name);
            let _ = fs::remove_file(&to);
            fs::copy(built().join(name), to).map_err(problem)?;
        }
        // The name that programs are linked to, as an installation has it.
        let soname = folder.join("lib").join(soname());
        let _ = fs::remove_file(&soname);
        #[cfg(unix)]
        std::os::unix::fs::symlink("libhalo.so", &soname).map_err(problem)?;
        Ok(Library { folder })
    }

    /// Compiles and links against the shared library; `name` becomes a program in bin/.
    pub(crate) fn compile(
        &self,
        compiler: &str,
        flags: &[&str],
        sources: &[&str],
        name: &str,
    ) -> Result<PathBuf, String> {
        let program = self.folder.join("bin").join(name);
        let lib = self.folder.join("lib");
        let mut command = Command::new(compiler);
        command
            .current_dir(root())
            .args(flags)
            .arg("-I")
            .arg(self.folder.join("include"))
            .args(sources)
            .arg("-L")
            .arg(&lib)
            .args([
                "-lhalo",
                "-lm",
                &format!("-Wl,-rpath,{}", lib.display()),
                "-o",
            ])
            .arg(&program);
        shell::run(&mut command)?;
        Ok(program)
    }
}

/// A folder with all it holds.
pub(crate) fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &to)?,
            false => fs::copy(entry.path(), to).map(|_| ())?,
        }
    }
    Ok(())
}

/// Where cargo puts what it builds for development.
pub(crate) fn built() -> PathBuf {
    target_folder().join("debug")
}

/// As the library names itself: before 1.0 with its minor version.
pub(crate) fn soname() -> String {
    let version: Vec<&str> = env!("CARGO_PKG_VERSION").split('.').collect();
    format!("libhalo.so.{}.{}", version[0], version[1])
}

/// Whether a program can be started at all.
pub(crate) fn there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// Starts so many processes of a program under MPI, more than cores and as any user: OpenMPI asks twice.
pub(crate) fn ranks(starter: impl AsRef<std::ffi::OsStr>, count: usize) -> Command {
    let mut command = Command::new(starter);
    command
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .env("OMPI_MCA_rmaps_base_oversubscribe", "1")
        .args(["-n", &count.to_string()]);
    command
}

/// Runs a program to its end and gives what it wrote.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| format!("{name} cannot be run: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Ok(said),
        false => Err(format!(
            "{name}: {}\n{said}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}
