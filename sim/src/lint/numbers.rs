use std::time::Duration;

/// Whether a number is larger by more than the rounding of the arithmetic.
pub(super) fn exceeds(number: f64, limit: f64) -> bool {
    number > limit * (1.0 + 1e-9)
}

/// To two digits that count, so that it can be written down.
pub(super) fn round_down(number: f64) -> f64 {
    rounded(number, f64::floor)
}

pub(super) fn round_up(number: f64) -> f64 {
    rounded(number, f64::ceil)
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
