//! Every way to set up every loss of the registry, and rows to try them on.
#![allow(dead_code, reason = "each test file takes what it needs")]

use core::ops::Range;

use halo_loss::{
    Batch, Error, Evaluation, Label, Loss, Normalizer, ParamKind, ParamSpec, ParamValue, Params,
    Point, Row, Source, Spec, TokenColumns, Tokens, advantage, evaluate, registry,
};

/// All combinations of a loss's own words and flags are tried up to this many.
const COMBINATIONS: usize = 250;

/// Calls with every configuration of every loss.
pub(crate) fn every_configuration(check: impl Fn(&Loss)) {
    for spec in registry() {
        let losses = configurations(spec);
        assert!(!losses.is_empty());
        losses.iter().for_each(&check);
    }
}

/// All combinations of a loss's own words and flags, numbers at their defaults (where there are too many, those of the parameter
/// with the most words beside each other one, and those of the others); then each word, flag and number of a modifier alone on the default
/// configuration, and each modifier beside the next one. Without the contradictory ones.
pub(crate) fn configurations(spec: &'static Spec) -> Vec<Loss> {
    let mut worded: Vec<&ParamSpec> = spec
        .params
        .iter()
        .filter(|p| !words(p).is_empty())
        .collect();
    let mut combinations: Vec<Params> = vec![];
    if worded.iter().map(|p| words(p).len()).product::<usize>() > COMBINATIONS {
        worded.sort_by_key(|p| words(p).len());
        let widest = worded.split_off(worded.len() - 1);
        combinations = products(&widest);
        let beside = |other: &&ParamSpec| products(&[widest[0], *other]);
        combinations.extend(worded.iter().flat_map(beside));
    }
    combinations.extend(products(&worded));
    for modifier in spec.modifiers {
        let main = &modifier.params[0];
        for value in words(main).into_iter().chain(strength(main)) {
            let mut params = Params::new();
            params.set(main.name, value);
            combinations.push(params);
        }
    }
    for (one, other) in spec.modifiers.iter().zip(spec.modifiers.iter().skip(1)) {
        let mut params = Params::new();
        for main in [&one.params[0], &other.params[0]] {
            // the last word is never the one that switches it off
            if let Some(value) = strength(main).or_else(|| words(main).pop()) {
                params.set(main.name, value);
            }
        }
        combinations.push(params);
    }
    let mut losses: Vec<Loss> = Vec::new();
    for params in combinations {
        match Loss::new(spec.name, &params) {
            Ok(loss) if losses.contains(&loss) => {}
            Ok(loss) => losses.push(loss),
            Err(error) => assert!(error.is_parameter(), "{error}"),
        }
    }
    losses
}

fn products(worded: &[&ParamSpec]) -> Vec<Params> {
    let mut combinations = vec![Params::new()];
    for param in worded {
        let with = |params: &Params| {
            let set = |value| {
                let mut params = params.clone();
                params.set(param.name, value);
                params
            };
            words(param).into_iter().map(set).collect::<Vec<_>>()
        };
        combinations = combinations.iter().flat_map(with).collect();
    }
    combinations
}

/// What a parameter that is no number can be.
pub(crate) fn words(param: &ParamSpec) -> Vec<ParamValue> {
    match param.kind {
        ParamKind::Number { .. } => vec![],
        ParamKind::Choice { choices, .. } => {
            let text = |word: &&str| ParamValue::Text(word.to_string());
            choices.iter().map(text).collect()
        }
        ParamKind::Flag { .. } => vec![ParamValue::Flag(false), ParamValue::Flag(true)],
    }
}

/// A number that switches a modifier on.
fn strength(param: &ParamSpec) -> Option<ParamValue> {
    match param.kind {
        ParamKind::Number { range, .. } => Some(ParamValue::Number(
            range.low + 0.375 * (range.high - range.low).min(1.0),
        )),
        _ => None,
    }
}

/// A number of a parameter's range, from one of 0..1: logarithmic where the range is, and within what people use.
pub(crate) fn number_in(kind: ParamKind, unit: f64) -> Option<f64> {
    let ParamKind::Number { range, .. } = kind else {
        return None;
    };
    let high = range.high.min(10.0);
    Some(match range.low > 0.0 {
        true => {
            let low = range.low.max(1e-3).min(high);
            (low * (high / low).powf(unit)).clamp(range.low, range.high)
        }
        false => range.low + unit * (high - range.low),
    })
}

/// Whether a parameter of that name, if the loss has one, is this word.
pub(crate) fn is(loss: &Loss, param: &str, word: &str) -> bool {
    loss.param(param) == Some(&ParamValue::Text(word.to_string()))
}

/// Whether pairs weigh what the policy says of them: a factor that is never differentiated.
pub(crate) fn weighs(loss: &Loss) -> bool {
    is(loss, "wpo", "plain") || is(loss, "wpo", "exact")
}

/// Whether its formula says that a part of it is not differentiated, so that its gradient is no derivative of its value.
pub(crate) fn stops_gradients(loss: &Loss) -> bool {
    let says = |words| loss.spec().formula.contains(words);
    says("not differentiated") || says("sg[") || weighs(loss)
}

/// Rows with all that any loss may read. Sums of columns are exactly the rows' numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Data {
    pub(crate) rows: Vec<Row>,
    pub(crate) columns: TokenColumns,
}

/// A column of tokens, and the number of a row that is its sum.
pub(crate) type Column = fn(&mut Data) -> (&mut Vec<f64>, fn(&mut Row) -> &mut f64);
pub(crate) const POLICY: Column = |data| (&mut data.columns.logps, |row| &mut row.logp);
pub(crate) const REFERENCE: Column = |data| (&mut data.columns.ref_logps, |row| &mut row.ref_logp);
pub(crate) const OLD: Column = |data| (&mut data.columns.old_logps, |row| &mut row.old_logp);

impl Data {
    pub(crate) fn view(&self) -> Batch<'_> {
        Batch {
            rows: &self.rows,
            tokens: self.columns.view(),
        }
    }

    pub(crate) fn evaluate(&self, loss: &Loss) -> Result<Evaluation, Error> {
        self.evaluate_as(loss, &Normalizer::of(loss, &self.rows))
    }

    pub(crate) fn evaluate_as(&self, loss: &Loss, norm: &Normalizer) -> Result<Evaluation, Error> {
        evaluate(loss, self.view(), norm)
    }

    /// The tokens of a row.
    pub(crate) fn span(&self, row: usize) -> Range<usize> {
        let length = |row: &Row| row.tokens as usize;
        let start = self.rows[..row].iter().map(length).sum();
        start..start + length(&self.rows[row])
    }

    /// Some of the rows, with their tokens.
    pub(crate) fn part(&self, rows: Range<usize>) -> Data {
        let tokens = match rows.is_empty() {
            true => 0..0,
            false => self.span(rows.start).start..self.span(rows.end - 1).end,
        };
        let cut = |column: &[f64]| column.get(tokens.clone()).unwrap_or_default().to_vec();
        Data {
            rows: self.rows[rows].to_vec(),
            columns: TokenColumns {
                logps: cut(&self.columns.logps),
                ref_logps: cut(&self.columns.ref_logps),
                old_logps: cut(&self.columns.old_logps),
                log_collisions: cut(&self.columns.log_collisions),
            },
        }
    }

    /// The rows in another order, with their tokens.
    pub(crate) fn ordered(&self, rows: &[usize]) -> Data {
        let mut data = self.part(0..0);
        for &row in rows {
            let one = self.part(row..row + 1);
            data.rows.extend(one.rows);
            data.columns.logps.extend(one.columns.logps);
            data.columns.ref_logps.extend(one.columns.ref_logps);
            data.columns.old_logps.extend(one.columns.old_logps);
            data.columns
                .log_collisions
                .extend(one.columns.log_collisions);
        }
        data
    }

    /// Adds to one token (counted within its row) and to the row's sum.
    pub(crate) fn add(&mut self, column: Column, row: usize, token: usize, step: f64) {
        let at = self.span(row).start + token;
        let (tokens, sum) = column(self);
        if let Some(token) = tokens.get_mut(at) {
            *token += step;
        }
        *sum(&mut self.rows[row]) += step;
    }

    /// The same with the numbers of a column changed: by another amount in each row, in its first token.
    pub(crate) fn shifted(&self, column: Column) -> Data {
        let mut data = self.clone();
        (0..self.rows.len()).for_each(|row| data.add(column, row, 0, 0.5 + row as f64 / 8.0));
        data
    }

    /// The same without a column: the rows' sums are no numbers, the tokens' are not there.
    pub(crate) fn without(&self, column: Column) -> Data {
        let mut data = self.clone();
        for row in 0..data.rows.len() {
            let (tokens, sum) = column(&mut data);
            tokens.clear();
            *sum(&mut data.rows[row]) = f64::NAN;
        }
        data
    }

    /// The same with every row changed.
    pub(crate) fn with(&self, change: impl Fn(usize, &mut Row)) -> Data {
        let mut data = self.clone();
        let rows = data.rows.iter_mut().enumerate();
        rows.for_each(|(index, row)| change(index, row));
        data
    }
}

/// Pairs in turn, so that losses of every shape can read them; dyadic, so that sums are exact.
pub(crate) fn data() -> Data {
    let log_ratios = [2.5, -1.25, -3.0, 4.75, 0.5, 0.25, -30.0, 12.0];
    // with and against the scores, within and beyond every clip
    let old_ratios = [0.5, -0.75, -1.25, 1.5, 0.0625, -0.0625, 0.75, -0.5];
    let scores = [1.0, 0.25, 0.75, -0.5, 1.5, 0.5, 0.875, 0.125];
    let groups = [0, 0, 0, 0, 1, 1, 2, 2];
    let row = |i: usize| Row {
        tokens: 7 + 3 * i as u32,
        label: label(i),
        group: groups[i],
        score: scores[i],
        ..Row::default()
    };
    fill((0..8).map(row).collect(), &log_ratios, &old_ratios)
}

/// The same prompts with other completions: row i's twin is the i-th.
pub(crate) fn mismatched() -> Data {
    let log_ratios = [1.5, -0.25, 3.0, 0.75, -2.0, 4.25, 0.5, 1.0];
    let row = |i: usize| Row {
        tokens: 11 + 2 * i as u32,
        label: label(i),
        group: i as u32 / 2,
        ..Row::default()
    };
    fill((0..8).map(row).collect(), &log_ratios, &[0.25; 8])
}

/// Chosen, rejected, chosen, …
pub(crate) fn label(index: usize) -> Label {
    match index.is_multiple_of(2) {
        true => Label::Desirable,
        false => Label::Undesirable,
    }
}

/// Tokens whose log-ratios lie on both sides of every clip, and sum to those given; rows of at least four tokens.
fn fill(mut rows: Vec<Row>, log_ratios: &[f64], old_ratios: &[f64]) -> Data {
    const RATIOS: [f64; 6] = [0.25, -2.0, 0.125, 2.25, -0.5, -0.25];
    const OLD_RATIOS: [f64; 5] = [0.125, 2.0, -1.75, 0.0625, -0.25];
    let mut columns = TokenColumns::default();
    for (i, row) in rows.iter_mut().enumerate() {
        let n = row.tokens as usize;
        let mut log_ratio: Vec<f64> = (0..n).map(|t| RATIOS[(t + i) % 6]).collect();
        let mut old_ratio: Vec<f64> = (0..n).map(|t| OLD_RATIOS[(t + 2 * i) % 5]).collect();
        for (tokens, sum) in [
            (&mut log_ratio, log_ratios[i]),
            (&mut old_ratio, old_ratios[i]),
        ] {
            let rest = (sum - tokens.iter().sum::<f64>()) / 4.0;
            tokens[..4].iter_mut().for_each(|token| *token += rest);
        }
        for t in 0..n {
            let reference = -4.0 - ((5 * t + 3 * i) % 7) as f64 / 8.0;
            let logp = reference + log_ratio[t];
            columns.ref_logps.push(reference);
            columns.logps.push(logp);
            columns.old_logps.push(logp - old_ratio[t]);
            columns
                .log_collisions
                .push(-0.25 - ((3 * t + i) % 5) as f64 / 4.0);
            row.ref_logp += reference;
            row.logp += logp;
            row.old_logp += logp - old_ratio[t];
        }
    }
    Data { rows, columns }
}

/// What a trainer does with a loss on a whole step: the advantages, the reference point, then the loss. A step went before, with
/// the policy elsewhere, so that a reference point with a memory remembers something.
pub(crate) fn step(loss: &Loss, data: &Data, mismatched: &Data) -> (Point, Evaluation) {
    let (point, data) = prepared(loss, data, mismatched);
    (
        point,
        data.evaluate(loss)
            .unwrap_or_else(|e| panic!("{loss}: {e}")),
    )
}

/// The rows as [`step`] evaluates them, and the reference point that they got.
pub(crate) fn prepared(loss: &Loss, data: &Data, mismatched: &Data) -> (Point, Data) {
    let mut memory = Vec::new();
    let earlier = |data: &Data| {
        let mut data = data.clone();
        (0..data.rows.len()).for_each(|row| data.add(POLICY, row, 0, -4.0));
        data
    };
    refer(loss, &mut earlier(data), &earlier(mismatched), &mut memory);
    let mut data = data.clone();
    if let Some(advantages) = loss.advantage() {
        advantage::assign(advantages, &mut data.rows);
    }
    let point = refer(loss, &mut data, mismatched, &mut memory);
    (point, data)
}

fn refer(loss: &Loss, data: &mut Data, mismatched: &Data, memory: &mut Vec<f64>) -> Point {
    let Some(estimator) = loss.reference_point() else {
        return Point::default();
    };
    let seen = match estimator.source() {
        Source::Mismatched => mismatched.view(),
        Source::Matched | Source::None => data.view(),
    };
    let observed = loss.observe(seen).unwrap_or_else(|e| panic!("{loss}: {e}"));
    let groups = data.rows.iter().map(|row| row.group as usize + 1);
    let mut sums = estimator.sums(groups.max().unwrap_or_default());
    estimator.accumulate(&mut sums, &data.rows, &observed);
    let point = estimator.finish(&sums, memory);
    estimator.assign(&point, &sums, &mut data.rows, &observed)
}

/// The gradient of each token; a row loss's tokens all have their row's.
pub(crate) fn token_slopes(loss: &Loss, data: &Data, result: &Evaluation) -> Vec<f64> {
    if loss.per_token() {
        return result.token_dlogps.clone();
    }
    let of = |(row, slope): (&Row, &f64)| vec![*slope; row.tokens as usize];
    data.rows.iter().zip(&result.dlogps).flat_map(of).collect()
}

/// All numbers of a result that must be numbers.
pub(crate) fn finite(result: &Evaluation) -> bool {
    let slopes = result.dlogps.iter().chain(&result.token_dlogps);
    let mut numbers = slopes.chain(&result.rewards).chain(&result.values);
    result.loss.is_finite() && numbers.all(|x| x.is_finite())
}

/// No columns of tokens.
pub(crate) const NO_TOKENS: Tokens<'static> = Tokens {
    logps: &[],
    ref_logps: &[],
    old_logps: &[],
    log_collisions: &[],
};
