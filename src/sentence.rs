/// Makes a sentence of a text that begins with a small letter.
pub(crate) fn sentence(text: impl ToString) -> String {
    let text = text.to_string();
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).chain(['.']).collect()
}
