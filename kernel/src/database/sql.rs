//! The only file that puts a name or a literal into SQL text. Everywhere else, values are bound and statements are
//! constant.
//!
//! `CREATE DATABASE`, `CREATE USER` and `GRANT` take no bound values. Their names come from parsed types, and are still
//! checked here. A literal with a quote or a backslash is refused and not escaped, because the meaning of an escape
//! depends on the server's `sql_mode`.
//!
//! There is one exception to bound values: rows that are copied in bulk between servers. A statement that contains the
//! values of a thousand rows is what dumps consist of, and twice as fast. [`push_value`] writes such values, for
//! sessions that began with [`COPY_MODE`].

use std::fmt;

/// A name or literal that must not be put into SQL. The error does not show the text, which may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name or literal cannot be put into SQL safely")]
pub struct Unquotable;

/// A quoted piece of SQL text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sql(String);

impl fmt::Display for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An identifier in backticks. Servers allow 64 characters, but neither NUL nor 4-byte characters.
pub fn identifier(name: &str) -> Result<Sql, Unquotable> {
    let fits = (1..=64).contains(&name.chars().count()) && !name.ends_with(' ');
    if !fits || name.chars().any(|c| c == '\0' || c > '\u{FFFF}') {
        return Err(Unquotable);
    }
    Ok(Sql(format!("`{}`", name.replace('`', "``"))))
}

/// A database name for `GRANT ... ON`, where `_` and `%` are wildcards. Without escapes, the user of `a_b` could read
/// `axb`.
pub fn grant_pattern(database: &str) -> Result<Sql, Unquotable> {
    let Sql(quoted) = identifier(database)?;
    Ok(Sql(quoted.replace('_', "\\_").replace('%', "\\%")))
}

/// A string in single quotes. It may contain only printable ASCII without quotes and backslashes.
pub fn literal(text: &str) -> Result<Sql, Unquotable> {
    if text.bytes().all(|b| (b' '..=b'~').contains(&b) && !matches!(b, b'\'' | b'"' | b'\\' | b'`')) {
        Ok(Sql(format!("'{text}'")))
    } else {
        Err(Unquotable)
    }
}

/// The mode of a session that copies. A backslash escapes, no value is cut to fit, an id may be 0 and a date may be
/// zero.
pub const COPY_MODE: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'";

/// The mode in which rows of a table with computed columns are written. The rows may have come from a session without
/// strict mode, in which the server makes a computed value fit.
pub const LENIENT_MODE: &str = "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'";

/// The statements after [`COPY_MODE`] that begin a session which copies. They set everything that a copy depends on, so
/// that no global value of the server changes what is read or written: an answer is never cut, names in definitions are
/// quoted, nothing ends a long statement or an idle transaction, no check refuses a row that the original has, and a
/// definition means what it says. The time zone is UTC, so that a TIMESTAMP keeps its value.
///
/// Each server reads its own comments. Before version 10.8, MariaDB has `explicit_defaults_for_timestamp` for the whole
/// server only. The privileged settings of MySQL are in [`MYSQL_READ_SETTINGS`] and
/// [`MYSQL_WRITE_SETTINGS`].
pub const COPY_SESSION: &str = "SET SESSION time_zone = '+00:00', SESSION autocommit = 1, SESSION completion_type = 0, \
    SESSION sql_select_limit = 18446744073709551615, SESSION sql_big_selects = 1, SESSION sql_safe_updates = 0, \
    SESSION sql_auto_is_null = 0, SESSION sql_quote_show_create = 1, SESSION foreign_key_checks = 0, \
    SESSION unique_checks = 1 \
    /*!80000 , SESSION max_execution_time = 0 */ \
    /*M!100600 , SESSION max_statement_time = 0, SESSION idle_transaction_timeout = 0, \
    SESSION idle_readonly_transaction_timeout = 0, SESSION idle_write_transaction_timeout = 0, \
    SESSION check_constraint_checks = 0, SESSION innodb_strict_mode = 0, SESSION sql_if_exists = 0, \
    SESSION alter_algorithm = 'DEFAULT', SESSION old_mode = '' */ \
    /*M!100804 , SESSION explicit_defaults_for_timestamp = 1 */; SET SESSION TRANSACTION READ WRITE";

/// What else a session that reads for a copy needs on MySQL, where an account without SESSION_VARIABLES_ADMIN may read
/// these settings and not change them: generated primary keys are columns as others.
pub const MYSQL_READ_SETTINGS: [(&str, i64); 1] = [("show_gipk_in_create_table_and_information_schema", 1)];

/// What a session that makes tables and writes rows needs besides. Without the first one, only a table that strict mode
/// would not make cannot come back.
pub const MYSQL_WRITE_SETTINGS: [(&str, i64); 4] = [
    (MYSQL_STRICT_TABLES, 0),
    ("explicit_defaults_for_timestamp", 1),
    ("sql_require_primary_key", 0),
    ("sql_generate_invisible_primary_key", 0),
];

/// Whether MySQL refuses definitions that it could make fit.
pub const MYSQL_STRICT_TABLES: &str = "innodb_strict_mode";

/// Appends a value of the server's text protocol as a literal of the same bytes.
///
/// A number is written bare if it consists of the characters of a number. Text in UTF-8 becomes a quoted string, and
/// everything else hexadecimal digits. `None` is NULL. What is appended has no line break, so a statement stays one
/// line of a backup.
pub fn push_value(statement: &mut String, value: Option<&[u8]>, form: Form) {
    use std::fmt::Write;
    let Some(bytes) = value else {
        return statement.push_str("NULL");
    };
    let text = std::str::from_utf8(bytes).ok().filter(|_| form != Form::Bytes);
    match text {
        // A bare -0 is a whole number, which has no sign. As text it is read as the number of the column's type.
        Some(number) if form == Form::Number && is_number(number) && !is_negative_zero(number) => {
            statement.push_str(number);
        }
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
    /// Text, dates and everything else that reads as text.
    Text,
    /// Bytes without a character set.
    Bytes,
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'e' | b'E' | b'+'))
}

fn is_negative_zero(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|rest| rest.bytes().all(|b| matches!(b, b'0' | b'.')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_identifier_is_quoted_or_refused() {
        assert_eq!(identifier("ai_shifu_tenant_a-b").unwrap().to_string(), "`ai_shifu_tenant_a-b`");
        assert_eq!(identifier("a`b").unwrap().to_string(), "`a``b`");
        for bad in ["", "a\0b", "a ", "\u{1F600}", &"x".repeat(65)] {
            assert_eq!(identifier(bad), Err(Unquotable));
        }
    }

    #[test]
    fn wildcards_in_a_grant_are_escaped() {
        assert_eq!(grant_pattern("ai_shifu_tenant_a-b").unwrap().to_string(), "`ai\\_shifu\\_tenant\\_a-b`");
        assert_eq!(grant_pattern("a%").unwrap().to_string(), "`a\\%`");
    }

    #[test]
    fn a_literal_with_quotes_is_refused() {
        assert_eq!(literal("p4ss word").unwrap().to_string(), "'p4ss word'");
        for bad in ["a'b", "a\\b", "a\"b", "a`b", "a\nb", "ü"] {
            assert_eq!(literal(bad), Err(Unquotable));
        }
    }

    #[test]
    fn a_value_becomes_a_literal_of_its_bytes() {
        let literal = |value: &[u8], form| {
            let mut statement = String::new();
            push_value(&mut statement, Some(value), form);
            statement
        };
        assert_eq!(literal(b"-12.50", Form::Number), "-12.50");
        assert_eq!(literal(b"-0.00", Form::Number), "'-0.00'");
        assert_eq!(literal(b"-0.01", Form::Number), "-0.01");
        assert_eq!(literal(b"1 OR 1=1", Form::Number), "'1 OR 1=1'");
        assert_eq!(literal(b"", Form::Number), "''");
        assert_eq!(literal("o'\\学\0 ".as_bytes(), Form::Text), r"'o''\\学\0 '");
        assert_eq!(literal(b"two\nlines", Form::Text), r"'two\nlines'");
        assert_eq!(literal(b"\xff'", Form::Text), "X'FF27'");
        assert_eq!(literal(b"ab", Form::Bytes), "X'6162'");
        let mut statement = String::new();
        push_value(&mut statement, None, Form::Text);
        assert_eq!(statement, "NULL");
    }

    proptest! {
        #[test]
        fn a_value_ends_where_its_literal_ends(text in "(?s).*") {
            let mut statement = String::new();
            push_value(&mut statement, Some(text.as_bytes()), Form::Text);
            // The server reads it so: a quote ends the string unless it is doubled, and a backslash takes the next
            // letter.
            let mut read = String::new();
            let mut letters = statement[1..statement.len() - 1].chars();
            while let Some(letter) = letters.next() {
                match letter {
                    '\\' => read.push(match letters.next() {
                        Some('0') => '\0',
                        Some('n') => '\n',
                        Some(other) => other,
                        None => panic!("open"),
                    }),
                    '\'' => { prop_assert_eq!(letters.next(), Some('\'')); read.push('\''); }
                    other => read.push(other),
                }
            }
            prop_assert_eq!(read, text);
        }

        #[test]
        fn no_name_ends_its_own_quotes(name in "\\PC{1,64}") {
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
