//! Numbers: compared, rounded, and as people read them.

use std::time::Duration;

/// What the arithmetic may be wrong by.
const ROUNDING: f64 = 1e-9;

/// Whether a number is larger by more than the rounding of the arithmetic.
pub(super) fn exceeds(number: f64, limit: f64) -> bool {
    number > limit * (1.0 + ROUNDING)
}

/// To two digits that count, so that it can be written down.
pub(super) fn round_down(number: f64) -> f64 {
    rounded(number * (1.0 + ROUNDING), f64::floor)
}

pub(super) fn round_up(number: f64) -> f64 {
    rounded(number * (1.0 - ROUNDING), f64::ceil)
}

fn rounded(number: f64, round: fn(f64) -> f64) -> f64 {
    if number <= 0.0 || !number.is_finite() {
        return number;
    }
    let digits = 1 - number.log10().floor() as i32;
    // Divides by powers of ten, which are exact, so that 0.12 is written as that.
    let scale = 10_f64.powi(digits.abs());
    if digits >= 0 { round(number * scale) / scale } else { round(number / scale) * scale }
}

/// Saturates.
pub(super) fn time(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// Writes a number with as many digits as a person needs.
pub(super) fn number(number: f64) -> String {
    match number {
        _ if number >= 10.0 => format!("{number:.0}"),
        _ if number >= 0.1 => format!("{}", (number * 10.0).round() / 10.0),
        _ => format!("{number:.1e}"),
    }
}

/// Writes seconds with two digits that count.
pub(super) fn seconds(seconds: f64) -> String {
    match seconds {
        _ if seconds.is_infinite() => "an endless time".to_owned(),
        _ if seconds < 1e-3 => format!("{} ms", number(seconds * 1e3)),
        _ if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        _ => format!("{} s", number(seconds)),
    }
}
