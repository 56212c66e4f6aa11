//! What the page may weigh.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::{Compression, write::GzEncoder};

use crate::shell::{Outcome, root};

/// What, where, and the most bytes as a server would send them, compressed or not.
///
/// The module holds every loss of the registry with its texts, the modifiers, and the theorems' settings.
const BUDGETS: &[(&str, &str, bool, usize)] = &[
    ("module", "web/generated/halo_bg.wasm", true, 150 << 10),
    ("scripts", "web/dist/main.js", true, 45 << 10),
    ("page", "web/dist/inspector.html", false, 300 << 10),
];

pub(super) fn check() -> Outcome {
    for (what, file, compressed, most) in BUDGETS {
        let bytes = fs::read(root().join(Path::new(file))).map_err(|e| format!("{file}: {e}"))?;
        let size = match compressed {
            true => gzip(&bytes).map_err(|e| format!("{file}: {e}"))?,
            false => bytes.len(),
        };
        let how = if *compressed { " compressed" } else { "" };
        let line = format!(
            "{what}: {} bytes, {size}{how} of at most {most}",
            bytes.len()
        );
        match size <= *most {
            true => println!("{line}"),
            false => return Err(line),
        }
    }
    Ok(())
}

fn gzip(bytes: &[u8]) -> std::io::Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len())
}
