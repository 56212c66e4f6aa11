//! Numbers for axes and tables. Rust prints them, also for files, so that page and program agree as strings.

/// Round places to mark between two numbers, at most `most` of them: multiples of 1, 2 or 5 times a power of ten.
pub fn ticks(low: f64, high: f64, most: u32) -> Vec<f64> {
    let width = high - low;
    if !(width > 0.0 && width.is_finite()) || most == 0 {
        return Vec::new();
    }
    let most = f64::from(most);
    let power = libm::floor(libm::log10(width / most));
    let unit = libm::exp10(power);
    let steps = [1.0, 2.0, 5.0, 10.0, 20.0].map(|step| step * unit);
    let step = steps
        .into_iter()
        .find(|step| width / step <= most)
        .unwrap_or(width);
    let first = libm::ceil(low / step - 1e-9);
    let last = libm::floor(high / step + 1e-9);
    let count = (last - first) as usize + 1;
    // quotients keep the digits that sums lose; 0 has no sign
    let inverse = libm::round(1.0 / step);
    (0..count)
        .map(|at| first + at as f64)
        .map(|k| {
            if step < 1.0 && inverse >= 1.0 {
                k / inverse
            } else {
                k * step
            }
        })
        .map(|tick| if tick == 0.0 { 0.0 } else { tick })
        .collect()
}

/// Powers of ten between two positive numbers, both ends included where they are one.
pub fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    if !(low > 0.0 && high > low && high.is_finite()) {
        return Vec::new();
    }
    let (first, last) = (
        libm::ceil(libm::log10(low) - 1e-9) as i32,
        libm::floor(libm::log10(high) + 1e-9) as i32,
    );
    (first..=last).map(power_of_ten).collect()
}

/// Numbers on a logarithmic scale of n equal steps, both ends included.
pub fn log_grid(low: f64, high: f64, n: u32) -> Vec<f64> {
    let ratio = libm::log(high / low);
    let at = |k: u32| match k {
        0 => low,
        k if k == n => high,
        k => low * libm::exp(ratio * f64::from(k) / f64::from(n)),
    };
    (0..=n).map(at).collect()
}

/// log₁₀ of each; NaN below or at 0.
pub fn log10(numbers: &[f64]) -> Vec<f64> {
    let log = |x: &f64| if *x > 0.0 { libm::log10(*x) } else { f64::NAN };
    numbers.iter().map(log).collect()
}

/// 10 to each.
pub fn exp10(numbers: &[f64]) -> Vec<f64> {
    numbers.iter().map(|x| libm::exp10(*x)).collect()
}

/// A number with so many significant digits, trailing zeros dropped; with 17 or more, the shortest that reads back the same.
pub fn format(x: f64, digits: u32) -> String {
    if !x.is_finite() {
        return if x.is_nan() {
            "–".into()
        } else if x > 0.0 {
            "∞".into()
        } else {
            "−∞".into()
        };
    }
    if digits >= 17 {
        return shortest(x);
    }
    if x == 0.0 {
        return "0".into();
    }
    let rounded = format!("{:.*e}", digits.max(1) as usize - 1, x);
    let value: f64 = rounded.parse().unwrap_or(x);
    let size = value.abs();
    if !(1e-4..1e7).contains(&size) {
        let (mantissa, exponent) = rounded.split_once('e').unwrap_or((&rounded, "0"));
        let mantissa = trimmed(mantissa);
        return format!("{}e{exponent}", mantissa.replace('-', "−")).replace("e-", "e−");
    }
    let exponent = libm::floor(libm::log10(size)) as i32;
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    trimmed(&format!("{value:.decimals$}")).replace('-', "−")
}

/// As a file has it: the shortest text that reads back as the same number.
fn shortest(x: f64) -> String {
    match x != 0.0 && !(1e-5..1e16).contains(&x.abs()) {
        true => format!("{x:e}"),
        false => x.to_string(),
    }
}

fn trimmed(text: &str) -> &str {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    }
}

fn power_of_ten(exponent: i32) -> f64 {
    // read from text: the same on every machine
    format!("1e{exponent}").parse().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(-80.0, 80.0, 6), [-50.0, 0.0, 50.0]);
        assert_eq!(ticks(-50.0, 50.0, 10).len(), 11);
        assert_eq!(ticks(0.0, 0.3, 4), [0.0, 0.1, 0.2, 0.3]);
        assert!(ticks(1.0, 1.0, 5).is_empty() && ticks(0.0, f64::NAN, 5).is_empty());
        assert_eq!(log_ticks(0.01, 1.0), [0.01, 0.1, 1.0]);
    }

    #[test]
    fn numbers_are_written_as_people_do() {
        for (x, digits, text) in [
            (59.86445, 4, "59.86"),
            (0.1, 3, "0.1"),
            (-0.000012345, 3, "−1.23e−5"),
            (1e6, 3, "1000000"),
            (999.96, 4, "1000"),
            (0.0, 3, "0"),
            (f64::NAN, 3, "–"),
            (f64::INFINITY, 3, "∞"),
            (0.1 + 0.2, 17, "0.30000000000000004"),
            (-1.5e-9, 17, "-1.5e-9"),
        ] {
            assert_eq!(format(x, digits), text);
        }
    }
}
