//! The text of a stored object without its comments, which no server executes.

/// Replaces each comment by a blank. A comment that a server executes (`/*! ... */`) stays. The SQL mode says where a
/// quoted text ends: read in another mode, code could pass for a comment.
pub fn without_comments(statement: &str, sql_mode: Option<&str>) -> String {
    let has = |name: &str| sql_mode.is_some_and(|mode| mode.split(',').any(|word| word.eq_ignore_ascii_case(name)));
    let escapes = |quote: char| match quote {
        '\'' => !has("NO_BACKSLASH_ESCAPES"),
        '"' => !has("NO_BACKSLASH_ESCAPES") && !has("ANSI_QUOTES"),
        _ => false,
    };
    let mut code = String::with_capacity(statement.len());
    let mut rest = statement;
    while let Some(letter) = rest.chars().next() {
        let length = match letter {
            '\'' | '"' | '`' => {
                let length = quoted(rest, letter, escapes(letter));
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

/// Length of the quoted text that begins with `quote`. With `escapes`, a backslash takes the next letter along.
fn quoted(text: &str, quote: char, escapes: bool) -> usize {
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        if letter == '\\' && escapes {
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
            assert_eq!(without_comments(with, None), without);
            assert_eq!(without_comments(with, Some("STRICT_TRANS_TABLES")), without);
        }
    }

    #[test]
    fn the_sql_mode_says_where_a_text_ends() {
        let hidden = "SELECT '\\', '/*', x FROM t WHERE '*/' = ''";
        assert_eq!(without_comments(hidden, Some("NO_BACKSLASH_ESCAPES")), hidden);
        assert_ne!(without_comments(hidden, None), hidden);
        let named = r#"SELECT "\", "/*", x FROM t WHERE "*/" = """#;
        assert_eq!(without_comments(named, Some("REAL_AS_FLOAT,ANSI_QUOTES")), named);
        assert_ne!(without_comments(named, None), named);
    }
}
