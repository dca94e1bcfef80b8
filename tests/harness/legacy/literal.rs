//! Values as SQL literals: here statements are written whole, because a bound value is one round trip a row.

use std::fmt::Write;

/// A quoted text. Every byte arrives as it is, NUL and quotes too.
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

/// Anything that prints as a number.
pub fn number(sql: &mut String, value: impl std::fmt::Display) {
    let _ = write!(sql, "{value}");
}
