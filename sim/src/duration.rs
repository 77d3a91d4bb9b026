//! Durations as people write them.

use std::time::Duration;

/// From the longest suffix to the shortest, because "ms" ends as "s" does.
const UNITS: [(&str, f64); 6] = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3_600.0), ("d", 86_400.0)];

/// Reads a number with a unit, such as "1.5s".
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (number, seconds) = UNITS.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))?;
    // Only digits and a point: `parse` alone takes "inf", "nan", "1e300" and "-1" too.
    let plain = number.trim_end().bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = plain.then(|| number.trim_end().parse().ok())??;
    Duration::try_from_secs_f64(number * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_a_unit() {
        for (text, millis) in [("250ms", 250), ("1.5s", 1_500), (" 2 m ", 120_000), ("8h", 28_800_000), ("0s", 0)] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse("1d"), Some(Duration::from_secs(86_400)));
        assert_eq!(parse("7us"), Some(Duration::from_micros(7)));
        for text in ["", "s", "10", "-1s", "nans", "infs", "1e9s", "1 week", "1s 5ms", ".s", "1..2s"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&format!("{}d", "9".repeat(400))), None, "more than a duration can hold");
    }
}
