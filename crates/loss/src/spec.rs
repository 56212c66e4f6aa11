//! What is said about a loss: the source of every help text, page and binding.

use alloc::string::{String, ToString};
use alloc::{format, vec::Vec};
use core::fmt;

use crate::advice::Fit;
use crate::error::{Error, one_of};
use crate::modifiers::Modifier;
use crate::params::ParamValue;

/// Everything known about a loss before its parameters.
#[derive(Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Spec {
    /// Its name in the registry: lower case, as in the papers.
    pub name: &'static str,
    /// Its name in words.
    pub title: &'static str,
    /// The shape of data that it reads.
    pub shape: DataShape,
    /// Everything it may need; parameters can drop some (see [`crate::Loss::needs`]).
    pub needs: &'static [Need],
    /// Its parameters, in the order of help texts.
    pub params: &'static [ParamSpec],
    /// What else can be set: each modifier brings parameters of its own.
    pub modifiers: &'static [&'static Modifier],
    /// Defaults of other implementations where they differ, as values of the parameter `compat`.
    pub presets: &'static [Preset],
    /// The formula, in the letters of the handbook: r log-ratio, s label's sign, z0 reference point.
    pub formula: &'static str,
    /// Authors, title, year.
    pub paper: &'static str,
    /// arXiv number, empty where there is none.
    pub arxiv: &'static str,
    /// When a person would choose it.
    pub when_to_use: &'static str,
    /// How TRL and HALOs differ.
    pub implementations: &'static str,
    /// What speaks for it and against it on data of some kind.
    pub fits: &'static [Fit],
}

/// Another implementation's defaults.
#[derive(Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Preset {
    /// Whose, as in `compat = trl`.
    pub name: &'static str,
    /// Parameters with the values that they have there, as a person writes them.
    pub values: &'static [(&'static str, &'static str)],
}

/// The parameter that chooses a preset; it is resolved before all others and never kept.
pub const COMPAT: &str = "compat";

/// How rows belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum DataShape {
    /// Each row for itself, labels unread.
    Any,
    /// Each row for itself, with its label.
    Unpaired,
    /// Two rows of one prompt: chosen, rejected.
    Paired,
    /// Several rows of one prompt.
    Grouped,
}

/// What a loss reads beyond the policy's log-probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Need {
    /// The reference's log-probabilities.
    Reference,
    /// A reference point z₀ that is estimated from rows.
    ReferencePoint,
    /// Token counts.
    Lengths,
    /// Log-probabilities per token.
    TokenLogps,
    /// Advantages.
    Advantages,
    /// Log-probabilities at sampling time.
    OldLogps,
    /// Statistics over the vocabulary.
    VocabStats,
    /// Scalar scores of a reward head instead of log-probabilities.
    Scores,
    /// Negative denoising errors of a diffusion model instead of log-probabilities.
    Errors,
    /// A token before each completion that says its label: the data step's work, the formula does not see it.
    ControlTokens,
}

impl Need {
    /// All of them.
    pub const ALL: [Need; 10] = [
        Need::Reference,
        Need::ReferencePoint,
        Need::Lengths,
        Need::TokenLogps,
        Need::Advantages,
        Need::OldLogps,
        Need::VocabStats,
        Need::Scores,
        Need::Errors,
        Need::ControlTokens,
    ];
}

/// A parameter of a loss.
#[derive(Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ParamSpec {
    /// Its name.
    pub name: &'static str,
    /// Its type, default and allowed values.
    pub kind: ParamKind,
    /// What it does, in a sentence.
    pub meaning: &'static str,
}

/// β with another default, in the words that all losses share.
pub(crate) const fn beta(default: f64) -> ParamSpec {
    ParamSpec::number(
        "beta",
        default,
        (1e-6, 1e5),
        "inverse temperature: larger stays nearer the reference and saturates sooner",
    )
}

/// ε of a loss that has it in its formula.
pub(crate) const fn label_smoothing(default: f64, (low, high): (f64, f64)) -> ParamSpec {
    ParamSpec::number(
        "label_smoothing",
        default,
        (low, high),
        "the share of labels that are taken to be wrong",
    )
}

/// α of a loss that has the likelihood term in its formula.
pub(crate) const fn nll_weight(default: f64, meaning: &'static str) -> ParamSpec {
    ParamSpec::number("nll_weight", default, (0.0, 1e6), meaning)
}

/// λ_D and λ_U.
pub(crate) const DESIRABLE_WEIGHT: ParamSpec = ParamSpec::number(
    "desirable_weight",
    1.0,
    (0.0, 1e6),
    "weight of desirable rows, for imbalanced data",
);
pub(crate) const UNDESIRABLE_WEIGHT: ParamSpec = ParamSpec::number(
    "undesirable_weight",
    1.0,
    (0.0, 1e6),
    "weight of undesirable rows, for imbalanced data",
);

/// The type of a parameter, with its default.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case", tag = "type")
)]
pub enum ParamKind {
    /// A number in a range.
    Number {
        /// Unless said otherwise.
        default: f64,
        /// What is allowed.
        range: Range,
    },
    /// One of some words.
    Choice {
        /// Unless said otherwise.
        default: &'static str,
        /// What is allowed.
        choices: &'static [&'static str],
    },
    /// Yes or no.
    Flag {
        /// Unless said otherwise.
        default: bool,
    },
}

/// The numbers a parameter may take, both ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Range {
    /// The least.
    pub low: f64,
    /// The greatest.
    pub high: f64,
}

impl Range {
    /// Whether `x` is allowed; NaN never is.
    pub fn contains(&self, x: f64) -> bool {
        self.low <= x && x <= self.high
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}..={}",
            ParamValue::Number(self.low),
            ParamValue::Number(self.high)
        )
    }
}

impl ParamSpec {
    pub(crate) const fn number(
        name: &'static str,
        default: f64,
        (low, high): (f64, f64),
        meaning: &'static str,
    ) -> Self {
        ParamSpec {
            name,
            kind: ParamKind::Number {
                default,
                range: Range { low, high },
            },
            meaning,
        }
    }

    pub(crate) const fn choice(
        name: &'static str,
        default: &'static str,
        choices: &'static [&'static str],
        meaning: &'static str,
    ) -> Self {
        ParamSpec {
            name,
            kind: ParamKind::Choice { default, choices },
            meaning,
        }
    }

    pub(crate) const fn flag(name: &'static str, default: bool, meaning: &'static str) -> Self {
        ParamSpec {
            name,
            kind: ParamKind::Flag { default },
            meaning,
        }
    }

    /// The value it has unless said otherwise.
    pub fn default(&self) -> ParamValue {
        match self.kind {
            ParamKind::Number { default, .. } => ParamValue::Number(default),
            ParamKind::Choice { default, .. } => ParamValue::Text(default.to_string()),
            ParamKind::Flag { default } => ParamValue::Flag(default),
        }
    }

    /// The allowed values in words: a range, or the choices.
    pub fn allowed(&self) -> String {
        match self.kind {
            ParamKind::Number { range, .. } => range.to_string(),
            ParamKind::Choice { choices, .. } => one_of(choices),
            ParamKind::Flag { .. } => "true or false".to_string(),
        }
    }

    /// Refuses a value of another type or outside the allowed ones.
    pub(crate) fn check(&self, value: &ParamValue) -> Result<(), Error> {
        let name = self.name;
        let wrong = |problem: String| Err(Error::parameter(name, problem));
        match (self.kind, value) {
            (ParamKind::Number { range, .. }, ParamValue::Number(x)) => match range.contains(*x) {
                true => Ok(()),
                false => wrong(format!("{name} = {value} is outside {range}")),
            },
            (ParamKind::Choice { choices, .. }, ParamValue::Text(word)) => {
                match choices.contains(&word.as_str()) {
                    true => Ok(()),
                    false => wrong(format!(
                        "{name} = {word:?} is not one of {}",
                        choices.to_vec().join(", ")
                    )),
                }
            }
            (ParamKind::Flag { .. }, ParamValue::Flag(_)) => Ok(()),
            _ => wrong(format!(
                "{name} = {value} is a {}, not {}",
                value.type_name(),
                self.allowed()
            )),
        }
    }
}

impl Spec {
    /// Of a loss that leaves the rest of its entry out.
    pub(crate) const EMPTY: Spec = Spec {
        name: "",
        title: "",
        shape: DataShape::Any,
        needs: &[],
        params: &[],
        modifiers: &[],
        presets: &[],
        formula: "",
        paper: "",
        arxiv: "",
        when_to_use: "",
        implementations: "",
        fits: &[],
    };

    /// Its own parameters and those of its modifiers, in the order of help texts.
    pub fn all_params(&self) -> impl Iterator<Item = &'static ParamSpec> + use<> {
        let modifiers = self.modifiers.iter().flat_map(|modifier| modifier.params);
        self.params.iter().chain(modifiers)
    }

    /// The parameter of that name, its own or a modifier's.
    ///
    /// # Errors
    /// An unknown name, with the known ones.
    pub fn param(&self, name: &str) -> Result<&'static ParamSpec, Error> {
        self.all_params().find(|p| p.name == name).ok_or_else(|| {
            let known: Vec<&str> = self.all_params().map(|p| p.name).collect();
            Error::unknown_parameter(name, &known)
        })
    }

    /// The preset of that name.
    ///
    /// # Errors
    /// A name that the loss has no preset of, with those it has.
    pub(crate) fn preset(&self, name: &str) -> Result<&'static Preset, Error> {
        self.presets.iter().find(|p| p.name == name).ok_or_else(|| {
            let known: Vec<&str> = self.presets.iter().map(|p| p.name).collect();
            let message = match known.is_empty() {
                true => format!("{COMPAT} = {name:?}, but there are no presets of it"),
                false => format!("{COMPAT} = {name:?} is not {}", one_of(&known)),
            };
            Error::parameter(COMPAT, message)
        })
    }
}
