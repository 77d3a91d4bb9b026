/// Makes a sentence of a text that begins with a small letter.
pub(crate) fn sentence(text: impl ToString) -> String {
    let text = text.to_string();
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).chain(['.']).collect()
}

/// Makes a sentence of a text, and puts another one behind it if there is one.
pub(crate) fn sentences(text: impl ToString, next: Option<String>) -> String {
    let first = sentence(text);
    match next {
        Some(next) => format!("{first} {next}"),
        None => first,
    }
}

/// `1 probe`, `2 probes`.
pub(crate) fn count(number: impl Into<u64>, noun: &str) -> String {
    let number = number.into();
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// `reset`, `reset and timeout`, `reset, timeout and reset`; `None` of nothing.
pub(crate) fn list(items: &[String]) -> Option<String> {
    let (last, before) = items.split_last()?;
    Some(if before.is_empty() { last.clone() } else { format!("{} and {last}", before.join(", ")) })
}
