//! `cargo xtask peers`: halo beside TRL on this machine.

use std::process::Command;

use crate::shell::{self, Outcome, cargo, root};

const PYTHON: &str = "PEERS_PYTHON";
const HOW: &str = "\
The comparison needs a Python with TRL; once:

  python -m venv venv
  venv/bin/pip install -r testdata/peers/requirements.txt

then `PEERS_PYTHON=venv/bin/python cargo xtask peers` builds halo and runs benches/peers (about 40 minutes on two cores; leave
the machine alone meanwhile). What follows the task goes to it: `--shape 350/300 --steps 4 --warmup 1` is a first look.
benches/peers/README.md says what is measured.";

pub(crate) fn run(arguments: &[String]) -> Outcome {
    if std::env::var_os(PYTHON).is_none() {
        println!("{HOW}");
        return Ok(());
    }
    shell::run(&mut cargo("build --release --package halo-cli"))?;
    shell::run(
        Command::new("benches/peers/run")
            .args(arguments)
            .current_dir(root()),
    )
}
