//! `cargo xtask reference-points`: bias and variance of every estimator of the reference point, where the divergence can be computed.
//!
//! In docs/reference_points.md, between markers, and docs/reference_points.svg. What the numbers mean is written by people around
//! them; `--check` refuses numbers that would come out otherwise.

use std::fs;
use std::thread;

use halo_train::Rng;

use crate::shell::{Outcome, root};
use data::Behaviour;
use measure::{Case, DRAWS, Measured, measure};
use world::{Path, World};

mod chain;
mod data;
mod measure;
mod plot;
mod tables;
mod world;

const PAGE: &str = "docs/reference_points.md";
const PLOT: &str = "docs/reference_points.svg";

/// Distances between policy and reference, nats.
const TARGETS: [f64; 3] = [0.1, 1.0, 10.0];
/// Rows of a step.
const SIZES: [usize; 3] = [2, 8, 32];
/// Answers to a prompt where there are several.
const SIBLINGS: usize = 4;
/// How much of the policy's way the prompts have in common: the study's own is the middle one.
const SHARES: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];
const SEED: u64 = 1306;

/// All that came out.
struct Study {
    /// By distance: every prompt of a step is another one.
    distinct: Vec<Vec<Measured>>,
    /// By distance: four answers to each prompt.
    siblings: Vec<Vec<Measured>>,
    /// By share: exact divergence, and what mismatched answers of the policy and of the reference measure.
    mismatched: Vec<(f64, f64, f64)>,
    /// At the middle distance, the policy's own answers, in a world where its whole way is common to all prompts.
    common: Vec<Measured>,
}

/// Writes page and plot, or with `--check` only compares them.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    match arguments {
        [] => write(),
        [flag] if flag == "--check" => check(),
        _ => Err(format!("{arguments:?}: only --check is known")),
    }
}

/// Refuses a page or a plot with other numbers.
pub(crate) fn check() -> Outcome {
    for (file, text) in documents()? {
        if read(file)? != text {
            return Err(format!(
                "{file} has other numbers: run `cargo xtask reference-points`, read its conclusions again, and commit"
            ));
        }
        println!("{file} has the numbers that come out");
    }
    Ok(())
}

fn write() -> Outcome {
    for (file, text) in documents()? {
        fs::write(root().join(file), text).map_err(|error| format!("{file}: {error}"))?;
        println!("wrote {file}");
    }
    Ok(())
}

fn read(file: &str) -> Result<String, String> {
    fs::read_to_string(root().join(file)).map_err(|error| format!("{file}: {error}"))
}

fn documents() -> Result<[(&'static str, String); 2], String> {
    let study = study()?;
    let blocks = [
        ("estimators", tables::meanings()),
        ("draws", format!("{DRAWS} draws of batches a cell.\n")),
        (
            "rmse",
            tables::overview(&study, |score| tables::nats(score.rmse())),
        ),
        ("bias", tables::bias(&study)),
        (
            "weight",
            tables::overview(&study, |score| tables::percent(score.change())),
        ),
        ("mismatched", tables::mismatched(&study)),
        ("common", tables::common(&study)),
        ("siblings", tables::siblings(&study)),
        ("all", tables::all(&study)),
    ];
    let mut page = read(PAGE)?;
    for (name, text) in blocks {
        page = filled(&page, name, &text)?;
    }
    Ok([(PAGE, page), (PLOT, plot::svg(&study))])
}

/// The page with `text` between the markers of that name.
fn filled(page: &str, name: &str, text: &str) -> Result<String, String> {
    let open = format!("<!-- {name}: written by cargo xtask reference-points -->\n");
    let close = format!("<!-- end of {name} -->");
    let parts = page
        .split_once(&open)
        .and_then(|(before, rest)| Some((before, rest.split_once(&close)?.1)));
    let (before, after) =
        parts.ok_or_else(|| format!("{PAGE}: the markers of \"{name}\" are gone"))?;
    Ok(format!("{before}{open}{text}{close}{after}"))
}

fn study() -> Result<Study, String> {
    let world = World::new(0.5);
    let mut study = Study {
        distinct: Vec::new(),
        siblings: Vec::new(),
        mismatched: Vec::new(),
        common: Vec::new(),
    };
    let distances = thread::scope(|scope| {
        let world = &world;
        let threads = TARGETS.map(|target| scope.spawn(move || distance(world, target)));
        threads.map(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err("a thread panicked".into()))
        })
    });
    for outcome in distances {
        let (distinct, siblings) = outcome?;
        study.distinct.push(distinct);
        study.siblings.push(siblings);
    }
    for share in SHARES {
        let exact = World::new(share).mismatched(TARGETS[1])?;
        study.mismatched.push(exact);
    }
    let common = World::new(1.0);
    let path = common.path(TARGETS[1])?;
    study.common = cases(&common, &path, &[Behaviour::Policy], &SIZES, 1)?;
    Ok(study)
}

/// All cases at one distance: prompts all different, and prompts with siblings.
fn distance(world: &World, target: f64) -> Result<(Vec<Measured>, Vec<Measured>), String> {
    let path = world.path(target)?;
    let several = [SIBLINGS * 2, SIBLINGS * 8];
    Ok((
        cases(world, &path, &Behaviour::ALL, &SIZES, 1)?,
        cases(world, &path, &Behaviour::ALL, &several, SIBLINGS)?,
    ))
}

fn cases(
    world: &World,
    path: &Path,
    behaviours: &[Behaviour],
    sizes: &[usize],
    siblings: usize,
) -> Result<Vec<Measured>, String> {
    let mut measured = Vec::new();
    for &behaviour in behaviours {
        for &size in sizes {
            let case = Case {
                behaviour,
                size,
                siblings,
            };
            let stream = siblings * 100 + measured.len();
            let rng = Rng::new(SEED).fork(stream as u64);
            measured.push(measure(world, path, case, &rng)?);
        }
    }
    Ok(measured)
}
