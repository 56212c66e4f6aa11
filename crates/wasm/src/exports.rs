//! What JavaScript calls: the modules' functions, with errors as exceptions that carry their text.

use halo_loss::Label;
use wasm_bindgen::prelude::*;

use crate::params::loss;
use crate::run::Columns;
use crate::{catalogue, curves, evaluate, numbers, run, theory};

/// What the JSON of [`catalogue_json`] and its siblings holds, for TypeScript.
#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
export interface Param { name: string; meaning: string; default: number; modifier: boolean; type: "number" | "choice" | "flag"; range?: [number, number]; choices?: string[] }
export interface Entry {
  name: string; title: string; shape: "any" | "unpaired" | "paired" | "grouped"; needs: string[]; formula: string; paper: string; arxiv: string;
  when: string; elsewhere: string; unit: "nats" | "scores" | "errors" | "ratio"; axis: string; compared: string; perToken: boolean;
  referencePoint: boolean; params: Param[];
}
export interface Catalogue { version: string; values: string[]; chord: number; pins: string[]; losses: Entry[] }
export interface Saturation {
  kind: "two-sided" | "right" | "exact" | "target" | "none"; learnt: number | null; givenUp: number | null; target: number | null;
  steepest: number | null; formula: string; perToken: boolean; range: [number, number]; compared: string; axis: string;
}
export interface Disagreement { optimum: number; minority: boolean; drift: "majority" | "minority" | "none"; turning: number | null }
export interface Balance { rho: number | null; band: [number, number]; inside: boolean; mend?: [number, number]; why?: string }
"#;

fn label(desirable: bool) -> Label {
    match desirable {
        true => Label::Desirable,
        false => Label::Undesirable,
    }
}

/// The registry: a `Catalogue`.
///
/// # Errors
/// See [`catalogue::catalogue`].
#[wasm_bindgen(js_name = catalogue)]
pub fn catalogue_json() -> Result<String, String> {
    catalogue::catalogue()
}

/// See [`curves::curve`].
///
/// # Errors
/// See there.
#[wasm_bindgen]
pub fn curve(
    name: &str,
    params: &[f64],
    desirable: bool,
    tokens: u32,
    places: &[f64],
) -> Result<Vec<f64>, String> {
    curves::curve(&loss(name, params)?, label(desirable), tokens, places)
}

/// See [`curves::value`].
///
/// # Errors
/// See there.
#[wasm_bindgen]
pub fn value(name: &str, alpha: f64, aversion: f64, places: &[f64]) -> Result<Vec<f64>, String> {
    curves::value(name, alpha, aversion, places)
}

/// A `Saturation`: see [`curves::saturation`].
///
/// # Errors
/// See there.
#[wasm_bindgen]
pub fn saturation(
    name: &str,
    params: &[f64],
    tokens: u32,
    tolerance: f64,
) -> Result<String, String> {
    curves::saturation(&loss(name, params)?, tokens, tolerance)
}

/// See [`evaluate::evaluate`].
///
/// # Errors
/// See there.
#[wasm_bindgen(js_name = evaluate)]
pub fn evaluate_rows(
    name: &str,
    params: &[f64],
    rows: &[f64],
    tokens: &[f64],
) -> Result<Vec<f64>, String> {
    evaluate::evaluate(&loss(name, params)?, rows, tokens)
}

/// See [`numbers::ticks`].
#[wasm_bindgen]
pub fn ticks(low: f64, high: f64, most: u32) -> Vec<f64> {
    numbers::ticks(low, high, most)
}

/// See [`numbers::log_ticks`].
#[wasm_bindgen(js_name = logTicks)]
pub fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    numbers::log_ticks(low, high)
}

/// See [`numbers::log_grid`].
#[wasm_bindgen(js_name = logGrid)]
pub fn log_grid(low: f64, high: f64, n: u32) -> Vec<f64> {
    numbers::log_grid(low, high, n)
}

/// See [`numbers::log10`].
#[wasm_bindgen]
pub fn log10(numbers: &[f64]) -> Vec<f64> {
    numbers::log10(numbers)
}

/// See [`numbers::exp10`].
#[wasm_bindgen]
pub fn exp10(numbers: &[f64]) -> Vec<f64> {
    numbers::exp10(numbers)
}

/// See [`numbers::format`].
#[wasm_bindgen]
pub fn format(x: f64, digits: u32) -> String {
    numbers::format(x, digits)
}

/// See [`theory::means`].
///
/// # Errors
/// See there.
#[wasm_bindgen]
pub fn means(
    mean: f64,
    deviation: f64,
    batch: u32,
    trials: u32,
    seed: u32,
) -> Result<Vec<f64>, String> {
    theory::means(mean, deviation, batch, trials, seed)
}

/// See [`theory::clamped`].
///
/// # Errors
/// See there.
#[wasm_bindgen]
pub fn clamped(mean: f64, deviation: f64, batch: u32) -> Result<Vec<f64>, String> {
    theory::clamped(mean, deviation, batch)
}

/// A `Disagreement`: see [`theory::disagreement`].
///
/// # Errors
/// See there.
#[wasm_bindgen]
pub fn disagreement(
    majority: f64,
    reference: f64,
    beta: f64,
    desirable: f64,
    undesirable: f64,
) -> Result<String, String> {
    theory::disagreement(majority, reference, beta, desirable, undesirable)
}

/// See [`theory::boundary`].
#[wasm_bindgen]
pub fn boundary(shares: &[f64], beta: f64) -> Vec<f64> {
    theory::boundary(shares, beta)
}

/// See [`theory::descend`].
///
/// # Errors
/// See there.
#[wasm_bindgen]
pub fn descend(
    name: &str,
    params: &[f64],
    majority: f64,
    reference: &[f64],
    steps: u32,
) -> Result<Vec<f64>, String> {
    theory::descend(&loss(name, params)?, majority, reference, steps)
}

/// See [`theory::shift`].
///
/// # Errors
/// See there.
#[wasm_bindgen]
pub fn shift(name: &str, params: &[f64], by: f64) -> Result<Vec<f64>, String> {
    theory::shift(&loss(name, params)?, by)
}

/// See [`theory::REWARDS`].
#[wasm_bindgen]
pub fn rewards() -> Vec<f64> {
    theory::REWARDS.to_vec()
}

/// A `Balance`: see [`theory::balance`].
#[wasm_bindgen]
pub fn balance(
    desirable: u32,
    undesirable: u32,
    weight_d: f64,
    weight_u: f64,
    target: f64,
) -> String {
    theory::balance(desirable, undesirable, weight_d, weight_u, target)
}

/// A run: see [`run::Run`].
#[wasm_bindgen]
#[derive(Debug)]
pub struct Run(run::Run);

#[wasm_bindgen]
impl Run {
    /// See [`run::Run::new`] and [`Columns`].
    ///
    /// # Errors
    /// See there.
    #[wasm_bindgen(constructor)]
    pub fn new(
        paired: bool,
        label: &[u8],
        logp: &[f64],
        ref_logp: &[f64],
        tokens: &[u32],
        z0: &[f64],
        weight: &[f64],
        step: &[u32],
        unit: &[u32],
    ) -> Result<Run, String> {
        let columns = Columns {
            label,
            logp,
            ref_logp,
            tokens,
            z0,
            weight,
            step,
            unit,
        };
        run::Run::new(&columns, paired).map(Run)
    }

    /// See [`run::Run::until`].
    pub fn until(&mut self, step: u32) -> usize {
        self.0.until(step)
    }

    /// See [`run::Run::set_z0`].
    #[wasm_bindgen(js_name = setZ0)]
    pub fn set_z0(&mut self, z0: f64) {
        self.0.set_z0(z0);
    }

    /// See [`run::Run::standing`].
    ///
    /// # Errors
    /// See there.
    pub fn standing(&self, name: &str, params: &[f64], tolerance: f64) -> Result<Vec<f64>, String> {
        self.0.standing(&loss(name, params)?, tolerance)
    }

    /// See [`run::Run::furthest`].
    ///
    /// # Errors
    /// See there.
    pub fn furthest(
        &self,
        name: &str,
        params: &[f64],
        tolerance: f64,
        top: usize,
    ) -> Result<Vec<f64>, String> {
        self.0.furthest(&loss(name, params)?, tolerance, top)
    }

    /// See [`run::Run::given_up`].
    ///
    /// # Errors
    /// See there.
    #[wasm_bindgen(js_name = givenUp)]
    pub fn given_up(&self, name: &str, params: &[f64], tolerance: f64) -> Result<Vec<u32>, String> {
        self.0.given_up(&loss(name, params)?, tolerance)
    }

    /// See [`run::Run::over_steps`].
    ///
    /// # Errors
    /// See there.
    #[wasm_bindgen(js_name = overSteps)]
    pub fn over_steps(
        &self,
        name: &str,
        params: &[f64],
        tolerance: f64,
    ) -> Result<Vec<f64>, String> {
        self.0.over_steps(&loss(name, params)?, tolerance)
    }

    /// See [`run::Run::bins`].
    pub fn bins(&self, low: f64, high: f64, n: usize) -> Vec<u32> {
        self.0.bins(low, high, n)
    }

    /// See [`run::Run::extent`].
    pub fn extent(&self) -> Vec<f64> {
        self.0.extent()
    }
}
