//! Numbers and durations, as people read them.

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
        _ if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        _ => format!("{} s", number(seconds)),
    }
}
