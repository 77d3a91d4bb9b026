use http::header::{HeaderMap, HeaderName};

use crate::classify::digits;

/// Returns the whole numbers in a header, and skips what is none. A proxy may join several lines of one name by commas
/// (RFC 9110 section 5.3).
pub(super) fn numbers(headers: &HeaderMap, name: &HeaderName) -> impl Iterator<Item = u64> {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).filter_map(|number| digits(number.trim()))
}
