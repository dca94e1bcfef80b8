//! Values as SQL literals. Whole statements are written, because a bound value costs one round trip a row.

use std::fmt::Write;

/// A quoted text. Every byte arrives unchanged, also NUL and quotes.
pub fn text(sql: &mut String, value: &str) {
    sql.push('\'');
    for character in value.chars() {
        match character {
            '\0' => sql.push_str("\\0"),
            '\'' => sql.push_str("''"),
            '\\' => sql.push_str("\\\\"),
            other => sql.push(other),
        }
    }
    sql.push('\'');
}

/// A value that prints as a number.
pub fn number(sql: &mut String, value: impl std::fmt::Display) {
    let _ = write!(sql, "{value}");
}
