//! A loss of the registry with its parameters checked: what everything else is handed.

use alloc::sync::Arc;

use crate::error::Error;
use crate::losses::{self, Built, Denominator, Kernel};
use crate::params::{ParamValue, Params};
use crate::reference_point::Estimator;
use crate::spec::{DataShape, Need, Spec};
use crate::weighting::Weights;

/// A loss, ready to evaluate. Cheap to clone, safe to share.
#[derive(Clone, Debug)]
pub struct Loss {
    spec: &'static Spec,
    params: Arc<Params>,
    built: Arc<Built>,
}

impl Loss {
    /// The loss of that name; parameters that are not set have their defaults.
    ///
    /// # Errors
    /// An unknown name, an unknown parameter (each with the known ones), a value of another type or out of range,
    /// or values that contradict each other.
    pub fn new(name: &str, params: &Params) -> Result<Loss, Error> {
        let definition = losses::definition(name)?;
        let spec = definition.spec;
        let mut resolved = Params::new();
        for param in spec.params {
            resolved.set(param.name, param.default());
        }
        for (key, value) in params.iter() {
            spec.param(key)
                .and_then(|param| param.check(value))
                .map_err(|e| e.of(name))?;
            resolved.set(key, value.clone());
        }
        let built = (definition.build)(&resolved).map_err(|e| e.of(name))?;
        Ok(Loss {
            spec,
            params: Arc::new(resolved),
            built: Arc::new(built),
        })
    }

    /// What is known about it.
    pub fn spec(&self) -> &'static Spec {
        self.spec
    }

    /// All its parameters, defaults included.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Whether it needs this, its parameters considered.
    pub fn needs(&self, need: Need) -> bool {
        self.built.needs.contains(&need)
    }

    /// The shape of data that it reads.
    pub fn data_shape(&self) -> DataShape {
        self.spec.shape
    }

    /// How its reference point is estimated; `None` for a loss that has none.
    pub fn reference_point(&self) -> Option<Estimator> {
        self.built.reference_point
    }

    /// The same loss with one parameter changed.
    ///
    /// # Errors
    /// As [`Loss::new`].
    pub fn with(&self, key: &str, value: impl Into<ParamValue>) -> Result<Loss, Error> {
        let mut params = Params::clone(&self.params);
        params.set(key, value);
        Loss::new(self.spec.name, &params)
    }

    /// The same loss with these class weights.
    ///
    /// # Errors
    /// A loss without class weights; a weight out of range.
    pub fn with_weights(&self, weights: Weights) -> Result<Loss, Error> {
        self.with("desirable_weight", weights.desirable)?
            .with("undesirable_weight", weights.undesirable)
    }

    /// Rows in a unit of normalisation: 1, or 2 for pairs.
    pub fn rows_per_unit(&self) -> usize {
        match self.built.kernel {
            Kernel::Row(_) => 1,
            Kernel::Pair(_) => 2,
        }
    }

    pub(crate) fn kernel(&self) -> &Kernel {
        &self.built.kernel
    }

    pub(crate) fn denominator(&self) -> Denominator {
        self.built.denominator
    }
}

/// Equal by name and parameters.
impl PartialEq for Loss {
    fn eq(&self, other: &Self) -> bool {
        self.spec.name == other.spec.name && self.params == other.params
    }
}

impl core::fmt::Display for Loss {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.spec.name)?;
        for (index, (key, value)) in self.params.iter().enumerate() {
            write!(f, "{}{key}={}", if index == 0 { " " } else { ", " }, value)?;
        }
        Ok(())
    }
}
