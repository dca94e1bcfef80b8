//! The only file that puts a name or a literal into SQL text. Everywhere else values are bound and statements constant.
//!
//! `CREATE DATABASE`, `CREATE USER` and `GRANT` take no bound values. What goes into them is made by us from parsed types
//! and still checked here: a literal with a quote or backslash is refused rather than escaped, because what an escape
//! means depends on the server's `sql_mode`.
//!
//! Rows copied in bulk between servers are the one exception to "values are bound": a statement for each thousand rows, with
//! every value in it, is what dumps are made of and twice as fast. [`push_value`] writes them, for sessions that
//! [`COPY_SESSION`] has begun.

use std::fmt;

/// A name or literal that must not be put into SQL. It says nothing of the text, which may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name or literal is not fit for SQL")]
pub struct Unquotable;

/// A quoted piece of SQL text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sql(String);

impl fmt::Display for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An identifier in backticks. Servers allow 64 characters; NUL and 4-byte characters never.
pub fn identifier(name: &str) -> Result<Sql, Unquotable> {
    let fits = (1..=64).contains(&name.chars().count()) && !name.ends_with(' ');
    if !fits || name.chars().any(|c| c == '\0' || c > '\u{FFFF}') {
        return Err(Unquotable);
    }
    Ok(Sql(format!("`{}`", name.replace('`', "``"))))
}

/// A database name for `GRANT ... ON`, where `_` and `%` are wildcards: unescaped, the user of `a_b` could read `axb`.
pub fn grant_pattern(database: &str) -> Result<Sql, Unquotable> {
    let Sql(quoted) = identifier(database)?;
    Ok(Sql(quoted.replace('_', "\\_").replace('%', "\\%")))
}

/// A string in single quotes. Only printable ASCII without quotes and backslash.
pub fn literal(text: &str) -> Result<Sql, Unquotable> {
    if text.bytes().all(|b| (b' '..=b'~').contains(&b) && !matches!(b, b'\'' | b'"' | b'\\' | b'`')) {
        Ok(Sql(format!("'{text}'")))
    } else {
        Err(Unquotable)
    }
}

/// What a session must begin with before it is given text by [`push_value`]: an `sql_mode` in which a backslash escapes, nothing
/// is cut to fit, an id may be 0 and a date may be zero; UTC, so that a TIMESTAMP is what it was.
pub const COPY_SESSION: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', \
                                SESSION time_zone = '+00:00'";

/// Appends a value as the server's text protocol gave it, as a literal of the same bytes.
///
/// A number stands bare if it has a number's letters, text in UTF-8 becomes a quoted string, everything else hexadecimal
/// digits. `None` is NULL. What is appended has no line break, so a statement stays one line of a backup.
pub fn push_value(statement: &mut String, value: Option<&[u8]>, form: Form) {
    use std::fmt::Write;
    let Some(bytes) = value else {
        return statement.push_str("NULL");
    };
    let text = std::str::from_utf8(bytes).ok().filter(|_| form != Form::Bytes);
    match text {
        Some(number) if form == Form::Number && is_number(number) => statement.push_str(number),
        Some(text) => {
            statement.push('\'');
            let mut rest = text;
            while let Some(at) = rest.bytes().position(|b| matches!(b, b'\'' | b'\\' | b'\0' | b'\n')) {
                statement.push_str(&rest[..at]);
                statement.push_str(match rest.as_bytes()[at] {
                    b'\'' => "''",
                    b'\\' => "\\\\",
                    b'\n' => "\\n",
                    _ => "\\0",
                });
                rest = &rest[at + 1..];
            }
            statement.push_str(rest);
            statement.push('\'');
        }
        None => {
            statement.push_str("X'");
            for byte in bytes {
                let _ = write!(statement, "{byte:02X}");
            }
            statement.push('\'');
        }
    }
}

/// How [`push_value`] writes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A number, bare.
    Number,
    /// Text, dates and whatever else reads as text.
    Text,
    /// Bytes of no character set.
    Bytes,
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'e' | b'E' | b'+'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn identifiers_are_quoted() {
        assert_eq!(identifier("ai_shifu_tenant_a-b").unwrap().to_string(), "`ai_shifu_tenant_a-b`");
        assert_eq!(identifier("a`b").unwrap().to_string(), "`a``b`");
        for bad in ["", "a\0b", "a ", "\u{1F600}", &"x".repeat(65)] {
            assert_eq!(identifier(bad), Err(Unquotable));
        }
    }

    #[test]
    fn wildcards_of_grant_are_escaped() {
        assert_eq!(grant_pattern("ai_shifu_tenant_a-b").unwrap().to_string(), "`ai\\_shifu\\_tenant\\_a-b`");
        assert_eq!(grant_pattern("a%").unwrap().to_string(), "`a\\%`");
    }

    #[test]
    fn literals_with_quotes_are_refused() {
        assert_eq!(literal("p4ss word").unwrap().to_string(), "'p4ss word'");
        for bad in ["a'b", "a\\b", "a\"b", "a`b", "a\nb", "ü"] {
            assert_eq!(literal(bad), Err(Unquotable));
        }
    }

    #[test]
    fn values_are_literals_of_their_bytes() {
        let literal = |value: &[u8], form| {
            let mut statement = String::new();
            push_value(&mut statement, Some(value), form);
            statement
        };
        assert_eq!(literal(b"-12.50", Form::Number), "-12.50");
        assert_eq!(literal(b"1 OR 1=1", Form::Number), "'1 OR 1=1'");
        assert_eq!(literal(b"", Form::Number), "''");
        assert_eq!(literal("o'\\学\0 ".as_bytes(), Form::Text), r"'o''\\学\0 '");
        assert_eq!(literal(b"\xff'", Form::Text), "X'FF27'");
        assert_eq!(literal(b"ab", Form::Bytes), "X'6162'");
        let mut statement = String::new();
        push_value(&mut statement, None, Form::Text);
        assert_eq!(statement, "NULL");
    }

    proptest! {
        #[test]
        fn a_value_ends_where_its_literal_ends(text in any::<String>()) {
            let mut statement = String::new();
            push_value(&mut statement, Some(text.as_bytes()), Form::Text);
            // As the server reads it: a quote ends the string unless it is doubled, a backslash takes the next letter.
            let mut read = String::new();
            let mut letters = statement[1..statement.len() - 1].chars();
            while let Some(letter) = letters.next() {
                match letter {
                    '\\' => read.push(match letters.next() { Some('0') => '\0', Some(other) => other, None => panic!("open") }),
                    '\'' => { prop_assert_eq!(letters.next(), Some('\'')); read.push('\''); }
                    other => read.push(other),
                }
            }
            prop_assert_eq!(read, text);
        }

        #[test]
        fn nothing_escapes_its_quotes(name in "\\PC{1,64}") {
            if let Ok(Sql(quoted)) = identifier(&name) {
                let inside = &quoted[1..quoted.len() - 1];
                prop_assert_eq!(inside.replace("``", "").matches('`').count(), 0);
            }
            if let Ok(Sql(quoted)) = literal(&name) {
                prop_assert_eq!(quoted.matches('\'').count(), 2);
            }
        }
    }
}
