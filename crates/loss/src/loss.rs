//! A loss of the registry with its parameters checked, or a weighted sum of several: what everything else is handed.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::advantage::Advantage;
use crate::error::Error;
use crate::example::Batch;
use crate::losses::{self, Built, Coupling, Kernel};
use crate::mixture;
use crate::modifiers;
use crate::params::{ParamValue, Params};
use crate::readable::check_tokens;
use crate::reference_point::Estimator;
use crate::saturation::{Bounds, TOLERANCE};
use crate::spec::{COMPAT, DataShape, Need, Spec};
use crate::weighting::Weights;

/// A loss, ready to evaluate. Cheap to clone, safe to share.
#[derive(Clone, Debug)]
pub struct Loss {
    name: Arc<str>,
    params: Arc<Params>,
    parts: Arc<[Part]>,
    /// A bit for each [`Need`]: asked for with every batch.
    needs: u16,
}

/// One term of a weighted sum; a loss of the registry is a sum of one.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) weight: f64,
    pub(crate) spec: &'static Spec,
    pub(crate) built: Built,
    /// Where it saturates at the tolerance of metrics: the same for every batch.
    pub(crate) bounds: Bounds,
}

impl Loss {
    /// The loss of that name; parameters that are not set have their defaults. A weighted sum is written as in
    /// `dpo + 0.5*sft`, and its parameters as in `dpo.beta`.
    ///
    /// # Errors
    /// An unknown name, an unknown parameter (each with the known ones), a value of another type or out of range,
    /// values that contradict each other, losses that cannot be summed.
    pub fn new(name: &str, params: &Params) -> Result<Loss, Error> {
        if let Some(terms) = mixture::terms(name)? {
            return mixture::build(&terms, params);
        }
        let (part, resolved) = part(name, params)?;
        Ok(Loss::sum(
            part.spec.name.into(),
            resolved,
            Vec::from([part]),
        ))
    }

    pub(crate) fn sum(name: String, params: Params, parts: Vec<Part>) -> Loss {
        let needs = parts.iter().flat_map(|part| &part.built.needs);
        Loss {
            name: name.into(),
            params: Arc::new(params),
            needs: needs.fold(0, |bits, need| bits | 1 << *need as u16),
            parts: parts.into(),
        }
    }

    /// Its name: a word of the registry, or a weighted sum of them.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is known about it; of a weighted sum, about its first term.
    pub fn spec(&self) -> &'static Spec {
        self.parts[0].spec
    }

    /// All its parameters, defaults included.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Whether it needs this, its parameters considered.
    pub fn needs(&self, need: Need) -> bool {
        self.needs & (1 << need as u16) != 0
    }

    /// Everything it needs, its parameters considered.
    pub fn all_needs(&self) -> impl Iterator<Item = Need> {
        Need::ALL.into_iter().filter(|need| self.needs(*need))
    }

    /// The shape of data that it reads.
    pub fn data_shape(&self) -> DataShape {
        let shapes = self.parts.iter().map(|part| part.spec.shape);
        shapes
            .into_iter()
            .find(|shape| *shape != DataShape::Any)
            .unwrap_or(DataShape::Any)
    }

    /// How its reference point is estimated; `None` for a loss that has none.
    pub fn reference_point(&self) -> Option<Estimator> {
        self.estimating()
            .and_then(|part| part.built.reference_point)
    }

    /// The term with a reference point; one that has left it out only if there is no other.
    fn estimating(&self) -> Option<&Part> {
        let needs = |part: &&Part| part.built.needs.contains(&Need::ReferencePoint);
        let has = |part: &&Part| part.built.reference_point.is_some();
        self.parts
            .iter()
            .find(needs)
            .or_else(|| self.parts.iter().find(has))
    }

    /// How advantages are made of the data's rewards; `None` for a loss that reads none.
    pub fn advantage(&self) -> Option<Advantage> {
        self.parts.iter().find_map(|part| part.built.advantage)
    }

    /// Whether the units of a step know each other, so that only the whole step can be evaluated.
    pub fn couples(&self) -> bool {
        self.parts
            .iter()
            .any(|part| part.built.coupling != Coupling::None)
    }

    /// Whether tokens of one row can have different gradients, so that [`crate::Evaluation::token_dlogps`] is what counts.
    pub fn per_token(&self) -> bool {
        self.parts.iter().any(|part| {
            matches!(part.built.kernel, Kernel::Token(_)) || part.built.tokens.per_token()
        })
    }

    /// The same loss with one parameter changed.
    ///
    /// # Errors
    /// As [`Loss::new`].
    pub fn with(&self, key: &str, value: impl Into<ParamValue>) -> Result<Loss, Error> {
        let mut params = Params::clone(&self.params);
        params.set(key, value);
        Loss::new(&self.name, &params)
    }

    /// The same loss with these class weights.
    ///
    /// # Errors
    /// A loss without class weights; a weight out of range.
    pub fn with_weights(&self, weights: Weights) -> Result<Loss, Error> {
        self.with(&self.key("desirable_weight"), weights.desirable)?
            .with(&self.key("undesirable_weight"), weights.undesirable)
    }

    /// Under which key a parameter stands: in a weighted sum behind the name of the first term that has it.
    pub fn key(&self, param: &str) -> String {
        let holder = || {
            self.parts
                .iter()
                .find(|part| part.spec.param(param).is_ok())
        };
        match self.is_sum() {
            true => holder().map_or(param.into(), |part| format!("{}.{param}", part.spec.name)),
            false => param.into(),
        }
    }

    /// The value of a parameter by its plain name; see [`Loss::key`].
    pub fn param(&self, name: &str) -> Option<&ParamValue> {
        self.params.get(&self.key(name))
    }

    /// Rows in a unit of normalisation: 1, or 2 for pairs.
    pub fn rows_per_unit(&self) -> usize {
        match self.data_shape() {
            DataShape::Paired => 2,
            _ => 1,
        }
    }

    /// What the reference point's estimator sees of rows: after the modifiers that act on tokens, in nats.
    ///
    /// # Errors
    /// Columns of tokens that are missing or of another length, where the estimator or a modifier reads them.
    pub fn observe<'a>(&self, batch: impl Into<Batch<'a>>) -> Result<Vec<f64>, Error> {
        let batch = batch.into();
        check_tokens(self, &batch)?;
        let Some(part) = self.estimating() else {
            return Ok(Vec::new());
        };
        let prepared = part.built.tokens.prepare(&batch, false);
        let mut tokens = batch.tokens;
        if !prepared.logps.is_empty() {
            tokens.logps = &prepared.logps;
        }
        let estimator = part.built.reference_point;
        let rows = &prepared.rows;
        Ok(estimator.map_or_else(Vec::new, |estimator| {
            estimator.observe(&Batch { rows, tokens })
        }))
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Whether its parameters carry the names of its terms.
    pub(crate) fn is_sum(&self) -> bool {
        *self.name != *self.parts[0].spec.name
    }

    /// The term that says where rows stand: the first that judges them, not a likelihood beside it.
    pub(crate) fn judge(&self) -> &Part {
        let judges = |part: &&Part| part.spec.shape == self.data_shape();
        self.parts.iter().find(judges).unwrap_or(&self.parts[0])
    }
}

/// One loss of the registry, and all its parameters.
pub(crate) fn part(name: &str, params: &Params) -> Result<(Part, Params), Error> {
    let definition = losses::definition(name)?;
    let spec = definition.spec;
    let mut resolved = Params::new();
    for param in spec.all_params() {
        resolved.set(param.name, param.default());
    }
    if let Some(preset) = params.get(COMPAT) {
        let preset = spec.preset(&format!("{preset}")).map_err(|e| e.of(name))?;
        for (key, value) in preset.values {
            resolved.set(key, *value);
        }
    }
    for (key, value) in params.iter().filter(|(key, _)| *key != COMPAT) {
        spec.param(key)
            .and_then(|param| param.check(value))
            .map_err(|e| e.of(name))?;
        resolved.set(key, value.clone());
    }
    let built = (definition.build)(&resolved)
        .and_then(|built| modifiers::apply(spec.modifiers, &resolved, built))
        .map_err(|e| e.of(name))?;
    let bounds = built.kernel.bounds(TOLERANCE);
    let part = Part {
        weight: 1.0,
        spec,
        built,
        bounds,
    };
    Ok((part, resolved))
}

/// Equal by name and parameters.
impl PartialEq for Loss {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.params == other.params
    }
}

impl core::fmt::Display for Loss {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.name)?;
        for (index, (key, value)) in self.params.iter().enumerate() {
            write!(f, "{}{key}={}", if index == 0 { " " } else { ", " }, value)?;
        }
        Ok(())
    }
}
