//! The only file that puts a name or a literal into SQL text. Everywhere else values are bound and statements constant.
//!
//! `CREATE DATABASE`, `CREATE USER` and `GRANT` take no bound values. What goes into them is made by us from parsed types
//! and still checked here: a literal with a quote or backslash is refused rather than escaped, because what an escape
//! means depends on the server's `sql_mode`.

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

    proptest! {
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
