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
    if changed.as_ref().is_err_and(|error| database::number(error) == Some(UNKNOWN_COLLATION)) {
        changed = connection.execute(sqlx::raw_sql(&with_known_collations(statement))).await;
    }
    changed.map(drop)
}

/// MySQL's and MariaDB's newest collations are unknown to each other. What a carried table is sorted by there is not
/// what makes it what it is: it gets the collation that all other tables have.
fn with_known_collations(definition: &str) -> String {
    let known = |word: &str| match ["utf8mb4_0900_", "utf8mb4_uca1400_"].iter().any(|newest| word.starts_with(newest)) {
        true => "utf8mb4_unicode_ci".to_owned(),
        false => word.to_owned(),
    };
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
        changed.push_str("COLLATE");
        changed.push_str(&piece[..begin]);
        changed.push_str(&known(&piece[begin..end]));
        changed.push_str(&piece[end..]);
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::with_known_collations;

    #[test]
    fn newest_collations_are_replaced_and_nothing_else() {
        let definition = "CREATE TABLE `t` (`a` text COLLATE utf8mb4_0900_ai_ci, \
                          `b` text COLLATE utf8mb4_bin COMMENT 'COLLATE x') COLLATE=utf8mb4_uca1400_ai_ci";
        let expected = "CREATE TABLE `t` (`a` text COLLATE utf8mb4_unicode_ci, \
                          `b` text COLLATE utf8mb4_bin COMMENT 'COLLATE x') COLLATE=utf8mb4_unicode_ci";
        assert_eq!(with_known_collations(definition), expected);
    }
}
