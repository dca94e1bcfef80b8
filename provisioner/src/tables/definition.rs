//! The statement that creates a table: read from one server, run on another.

use super::{Doing, TableError};
use kernel::database::{self, sql};
use sqlx::{Executor, MySqlConnection};

/// The server does not know a collation.
const UNKNOWN_COLLATION: u16 = 1273;

/// The server's own statement that creates a table.
pub async fn read_definition(connection: &mut MySqlConnection, table: &str) -> Result<String, TableError> {
    let show = format!("SHOW CREATE TABLE {}", sql::identifier(table)?);
    let reading = || format!("reading the definition of {table}");
    let row = connection.fetch_one(sqlx::raw_sql(&show)).await.doing(reading)?;
    database::text(&row, 1).doing(reading)
}

/// Runs a statement that defines a table and may come from a server of the other kind.
pub async fn define(connection: &mut MySqlConnection, statement: &str) -> Result<(), sqlx::Error> {
    let mut changed = connection.execute(sqlx::raw_sql(statement)).await;
    for known in [nearest as fn(&str) -> Option<String>, older] {
        if changed.as_ref().is_err_and(|error| database::number(error) == Some(UNKNOWN_COLLATION)) {
            changed = connection.execute(sqlx::raw_sql(&with_collations(statement, known))).await;
        }
    }
    changed.map(drop)
}

/// The other kind's collation that compares alike: MySQL's newest collations are unknown to MariaDB, and the other way
/// round. Both tell emoji and accents apart and do not ignore blanks at the end, or values of a unique key that differ
/// would become equal.
fn nearest(collation: &str) -> Option<String> {
    if let Some((_, kind)) = collation.split_once("_0900_") {
        return Some(match kind {
            "bin" => "utf8mb4_nopad_bin".to_owned(),
            kind => format!("utf8mb4_uca1400_nopad_{kind}"),
        });
    }
    let (_, kind) = collation.split_once("_uca1400_")?;
    let kind = ["as_cs", "as_ci", "ai_cs"].into_iter().find(|known| kind.ends_with(known)).unwrap_or("ai_ci");
    Some(format!("utf8mb4_0900_{}", if kind == "ai_cs" { "as_cs" } else { kind }))
}

/// The collation that comes closest on a MariaDB before version 10.10.
fn older(collation: &str) -> Option<String> {
    match nearest(collation)?.as_str() {
        "utf8mb4_nopad_bin" => Some("utf8mb4_nopad_bin".into()),
        nearest if nearest.ends_with("_cs") => Some("utf8mb4_nopad_bin".into()),
        _ => Some("utf8mb4_unicode_520_nopad_ci".into()),
    }
}

/// The definition with other collations where `known` says so.
fn with_collations(definition: &str, known: fn(&str) -> Option<String>) -> String {
    let mut changed = String::with_capacity(definition.len());
    for (index, piece) in definition.split("COLLATE").enumerate() {
        if index == 0 {
            changed.push_str(piece);
            continue;
        }
        let begin = piece.len() - piece.trim_start_matches([' ', '=']).len();
        let end = piece[begin..]
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .map_or(piece.len(), |end| begin + end);
        let word = &piece[begin..end];
        changed.push_str("COLLATE");
        changed.push_str(&piece[..begin]);
        changed.push_str(&known(word).unwrap_or_else(|| word.to_owned()));
        changed.push_str(&piece[end..]);
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::{nearest, older, with_collations};

    #[test]
    fn newest_collations_are_replaced_and_nothing_else() {
        let definition = "CREATE TABLE `t` (`a` text COLLATE utf8mb4_0900_ai_ci, \
                          `b` text COLLATE utf8mb4_bin COMMENT 'COLLATE x') COLLATE=utf8mb4_de_pb_0900_as_cs";
        let expected = "CREATE TABLE `t` (`a` text COLLATE utf8mb4_uca1400_nopad_ai_ci, \
                          `b` text COLLATE utf8mb4_bin COMMENT 'COLLATE x') COLLATE=utf8mb4_uca1400_nopad_as_cs";
        assert_eq!(with_collations(definition, nearest), expected);
        for (from, to, on_older) in [
            ("utf8mb4_0900_bin", "utf8mb4_nopad_bin", "utf8mb4_nopad_bin"),
            ("utf8mb4_0900_as_ci", "utf8mb4_uca1400_nopad_as_ci", "utf8mb4_unicode_520_nopad_ci"),
            ("utf8mb4_uca1400_ai_ci", "utf8mb4_0900_ai_ci", "utf8mb4_unicode_520_nopad_ci"),
            ("utf8mb4_uca1400_german2_nopad_ai_cs", "utf8mb4_0900_as_cs", "utf8mb4_nopad_bin"),
        ] {
            assert_eq!((nearest(from).as_deref(), older(from).as_deref()), (Some(to), Some(on_older)), "{from}");
        }
        assert_eq!(nearest("utf8mb4_unicode_ci"), None);
    }
}
