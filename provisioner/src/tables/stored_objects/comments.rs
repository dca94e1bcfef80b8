//! The text of a stored object without its comments, which no server executes.

/// Replaces each comment by a blank. A comment that a server executes (`/*! ... */`) stays.
pub fn without_comments(statement: &str) -> String {
    let mut code = String::with_capacity(statement.len());
    let mut rest = statement;
    while let Some(letter) = rest.chars().next() {
        let length = match letter {
            '\'' | '"' | '`' => {
                let length = quoted(rest, letter);
                code.push_str(&rest[..length]);
                length
            }
            '#' => line(rest),
            '-' if is_remark(rest) => line(rest),
            '/' if rest.starts_with("/*") && !rest.starts_with("/*!") && !rest.starts_with("/*M!") => {
                code.push(' ');
                rest.find("*/").map_or(rest.len(), |end| end + 2)
            }
            _ => {
                code.push(letter);
                letter.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    code
}

/// Two hyphens begin a comment only before a blank, a line end or the end of the text.
fn is_remark(text: &str) -> bool {
    text.strip_prefix("--").is_some_and(|rest| rest.chars().next().is_none_or(|c| c.is_whitespace() || c.is_control()))
}

/// Length of a comment up to the end of its line, which stays.
fn line(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

/// Length of the quoted text that begins with `quote`. A backslash takes the next letter along, except in a name; where
/// the mode of the text says otherwise, at worst a comment is taken for code.
fn quoted(text: &str, quote: char) -> usize {
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        if letter == '\\' && quote != '`' {
            letters.next();
        } else if letter == quote {
            return at + letter.len_utf8();
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::without_comments;

    #[test]
    fn comments_are_removed_and_nothing_else() {
        for (with, without) in [
            ("SELECT 1 -- one\n+ 2", "SELECT 1 \n+ 2"),
            ("SELECT 1--1, 'a -- b', \"/* c */\", `#d`", "SELECT 1--1, 'a -- b', \"/* c */\", `#d`"),
            ("SELECT /* a */ 1 # b\n, /*! 2 */ 3 /*M!100000 4 */", "SELECT   1 \n, /*! 2 */ 3 /*M!100000 4 */"),
            ("SELECT 'it''s \\' -- x' -- y", "SELECT 'it''s \\' -- x' "),
            ("SELECT 1 /* open", "SELECT 1  "),
            ("-", "-"),
        ] {
            assert_eq!(without_comments(with), without);
        }
    }
}
