//! What is taken out of the statement that creates a stored object.

/// MySQL stores the semicolon after a body that a client sent together with other statements. Sent alone, the same body
/// has none.
pub fn without_end(statement: &str) -> &str {
    statement.trim_end_matches(|c: char| c == ';' || c.is_whitespace())
}

/// Removes `DEFINER=...` from the head of a statement, and returns it too.
pub fn without_definer(statement: &str) -> (String, Option<String>) {
    const WORD: &str = " DEFINER=";
    let head = statement.find(['`', '"', '\'']).unwrap_or(statement.len());
    let Some(at) = statement[..head].find(WORD) else { return (statement.to_owned(), None) };
    let from = at + WORD.len();
    let Some(mut end) = quoted(statement, from) else { return (statement.to_owned(), None) };
    if statement[end..].starts_with('@') {
        end = quoted(statement, end + 1).unwrap_or(end);
    }
    (format!("{}{}", &statement[..at], &statement[end..]), Some(statement[from..end].to_owned()))
}

/// The end of the quoted name that begins at `from`.
fn quoted(text: &str, from: usize) -> Option<usize> {
    let quote = text[from..].chars().next().filter(|c| matches!(c, '`' | '"' | '\''))?;
    let mut at = from + 1;
    loop {
        at += text[at..].find(quote)? + 1;
        if !text[at..].starts_with(quote) {
            return Some(at);
        }
        at += 1;
    }
}
