//! Why work on a database server failed, and whether another attempt may succeed.

use kernel::database;
use kernel::database::sql::Unquotable;
use kernel::jobs;

/// Why work on a database server failed.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The server's own error, or none at all came back. [`ServerError::reason`] says it in our words.
    #[error("the database server failed")]
    Database(#[from] sqlx::Error),
    /// The same, with what the statement was for, such as a table.
    #[error("{doing} failed")]
    Doing {
        doing: String,
        #[source]
        source: sqlx::Error,
    },
    /// A name or literal cannot be written into a statement.
    #[error(transparent)]
    Name(#[from] Unquotable),
    /// The server is older than what the product needs.
    #[error("database server {server} is too old ({version}): MariaDB 10.6 or MySQL 8.0 is needed")]
    TooOld {
        /// Its id.
        server: String,
        /// What it says of itself.
        version: String,
    },
    /// Another session still holds the lock although its connection was killed.
    #[error("the lock {lock} is held by a session that cannot be ended")]
    LockHeld {
        /// Name of the lock.
        lock: String,
    },
    /// A command of the migrator excludes the jobs of the tenant for a while.
    #[error("`provisioner legacy` is at work on the tenant and holds the lock {lock}")]
    MoveAtWork {
        /// Name of the lock.
        lock: String,
    },
    /// Killed sessions are still in the process list.
    #[error("sessions of the database user {username} do not end")]
    SessionsRemain {
        /// The user.
        username: String,
    },
    /// `DROP DATABASE` succeeded and the database is still listed.
    #[error("database {database} is still there after it was dropped")]
    NotDropped { database: String },
    /// There is no such database.
    #[error("database {database} is missing")]
    Missing { database: String },
    /// The database is there, without the ownership marker of the tenant it should belong to.
    #[error("database {database} does not carry the ownership marker of tenant {tenant_id}")]
    NotOwned { database: String, tenant_id: String },
    /// A newer program has migrated the database.
    #[error(
        "the database of tenant {tenant_id} has schema {found}, newer than schema {known}, which this program knows"
    )]
    NewerSchema {
        tenant_id: String,
        /// Schema of the database.
        found: u32,
        /// Newest schema of this program.
        known: u32,
    },
    /// The text of an applied migration is not what it was.
    #[error("a tenant migration up to schema {schema} was changed after the database of tenant {tenant_id} had it")]
    MigrationChanged {
        tenant_id: String,
        /// Schema of the database.
        schema: u32,
    },
}

impl ServerError {
    /// The server's own error, if there is one.
    pub fn database(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Database(source) | Self::Doing { source, .. } => Some(source),
            _ => None,
        }
    }

    /// Whether another attempt may succeed.
    pub fn may_pass(&self) -> bool {
        match self {
            // A change of a live table can meet two equal values that are there for a moment only.
            Self::Database(error) if is_duplicate_value(error) => true,
            Self::Database(error) | Self::Doing { source: error, .. } => {
                jobs::is_transient(error) || !is_known_to_last(error)
            }
            Self::LockHeld { .. } | Self::MoveAtWork { .. } | Self::SessionsRemain { .. } | Self::NotDropped { .. } => {
                true
            }
            // A restore or a move may be bringing it back.
            Self::Missing { .. } | Self::NotOwned { .. } => true,
            Self::Name(_) | Self::TooOld { .. } | Self::NewerSchema { .. } | Self::MigrationChanged { .. } => false,
        }
    }

    /// Whether the server refused what was written (a definition, a value or a row) and would have taken another.
    pub fn refuses_content(&self) -> bool {
        self.database().is_some_and(refuses_content)
    }

    /// The reason for the operator: our own words, without host names or statements. The server's words are in the log.
    pub fn reason(&self, server: &str) -> String {
        match self {
            Self::Database(error) => reason_of(error, server),
            Self::Doing { doing, source } => format!("{doing} failed: {}", reason_of(source, server)),
            error => error.to_string(),
        }
    }
}

fn reason_of(error: &sqlx::Error, server: &str) -> String {
    if database::is_unreachable(error) {
        return format!("database server {server} cannot be reached");
    }
    let Some(number) = database::number(error) else {
        return format!("database server {server} gave an answer that was not understood");
    };
    if is_out_of_space(number, &message(error)) {
        return format!("database server {server} has no space left");
    }
    match number {
        1044 | 1045 | 1142 | 1227 | 1410 => {
            format!("the administrator's account of database server {server} lacks a right or its password is wrong")
        }
        1418 | 1419 => format!(
            "database server {server} lets only SUPER make triggers and functions: \
             set log_bin_trust_function_creators = 1 there"
        ),
        1205 | 1213 | 1020 => format!("database server {server} is busy with the same rows or tables"),
        1264 | 1265 | 1292 | 1366 | 1406 | 1048 | 1364 => {
            let column = name_after(&message(error), &["column ", "Column ", "Field "]).unwrap_or("unknown".into());
            format!("database server {server} refused a value of the column {column} (error {number})")
        }
        4025 | 3819 => {
            let check = name_after(&message(error), &["CONSTRAINT ", "constraint "]).unwrap_or("unknown".into());
            format!("a row does not meet the check {check} on database server {server} (error {number})")
        }
        1062 | 1586 => {
            let key = name_after(&message(error), &["for key "]).unwrap_or("unknown".into());
            format!("two rows have the same value of the unique key {key} on database server {server} (error {number})")
        }
        1118 | 1071 => format!("a row or a key of the table is too long for database server {server} (error {number})"),
        1005 | 1030 | 1067 | 1115 | 1215 | 1273 | 1286 | 1478 | 1173 | 3750 => {
            format!("database server {server} does not make a table with such a definition (error {number})")
        }
        1290 if mentions(error, "--strict-password-validation") => format!(
            "database server {server} takes no hashes of passwords, because a plugin checks their strength: \
             set strict_password_validation = OFF there"
        ),
        1290 if is_read_only(error) => format!("database server {server} is read only (read_only = ON)"),
        1290 => format!("an option of database server {server} forbids the statement (error 1290)"),
        1819 => format!(
            "database server {server} checks the strength of passwords, and refuses the hash of a generated one: \
             exempt accounts with hashes from the check, or remove it"
        ),
        number => format!("database server {server} refused a statement (error {number})"),
    }
}

/// Whether the server's message names an option.
fn mentions(error: &sqlx::Error, option: &str) -> bool {
    message(error).contains(option)
}

/// A server that is read only may become writable again, as after a failover.
fn is_read_only(error: &sqlx::Error) -> bool {
    mentions(error, "--read-only") || mentions(error, "--super-read-only")
}

fn message(error: &sqlx::Error) -> String {
    error.as_database_error().map(|error| error.message().to_owned()).unwrap_or_default()
}

/// Whether a server has no space left. Some errors carry the reason of the operating system, of which 28 is that one.
fn is_out_of_space(number: u16, message: &str) -> bool {
    match number {
        1021 | 1041 | 1114 => true,
        1005 | 1030 | 1026 | 3 => ["errno: 28", "Errcode: 28", "error: 28", "error 28"]
            .iter()
            .any(|cause| message.find(cause).is_some_and(|at| !is_digit_at(message, at + cause.len()))),
        _ => false,
    }
}

fn is_digit_at(text: &str, at: usize) -> bool {
    text.as_bytes().get(at).is_some_and(u8::is_ascii_digit)
}

/// The quoted name after one of these words in a server's message, without the names of its database and table. Only a
/// name is taken from the message, never a value.
fn name_after(message: &str, words: &[&str]) -> Option<String> {
    let quoted = words.iter().find_map(|word| {
        message
            .match_indices(word)
            .map(|(at, word)| &message[at + word.len()..])
            .find(|rest| rest.starts_with(['`', '\'']))
    })?;
    let quote = quoted.chars().next()?;
    let end = quoted.find(|c: char| c.is_whitespace() || matches!(c, ',' | ';')).unwrap_or(quoted.len());
    let path = quoted[..end].trim_end_matches('.');
    let name = path.rsplit(&format!("{quote}.{quote}")).next()?;
    Some(name.trim_matches(quote).to_owned()).filter(|name| !name.is_empty())
}

/// Errors that stay: no space, no right, a wrong definition, a value or a row that does not fit, an option of the
/// server.
const LASTING: [u16; 39] = [
    1021, 1041, 1114, 1005, 1030, 3, 1044, 1045, 1142, 1227, 1410, 1418, 1419, 1064, 1102, 1049, 1264, 1265, 1292,
    1366, 1406, 1048, 1364, 4025, 3819, 1062, 1586, 1118, 1071, 1067, 1115, 1215, 1273, 1286, 1478, 1173, 3750, 1290,
    1819,
];

/// Errors of what was written. The others speak of the server: it has no space, its account lacks a right, an option
/// forbids the statement.
const OF_CONTENT: [u16; 25] = [
    1005, 1030, 1048, 1062, 1064, 1067, 1071, 1102, 1115, 1118, 1173, 1215, 1264, 1265, 1273, 1286, 1292, 1364, 1366,
    1406, 1478, 1586, 3750, 3819, 4025,
];

/// Whether the error speaks of what was written, and not of the server.
pub fn refuses_content(error: &sqlx::Error) -> bool {
    let is_content = |number| OF_CONTENT.contains(&number) && !is_out_of_space(number, &message(error));
    database::number(error).is_some_and(is_content)
}

fn is_duplicate_value(error: &sqlx::Error) -> bool {
    matches!(database::number(error), Some(1062 | 1586))
}

/// Every other error is tried again: the number of attempts is bounded, while a wrong verdict would be final.
fn is_known_to_last(error: &sqlx::Error) -> bool {
    database::number(error).is_some_and(|number| LASTING.contains(&number)) && !is_read_only(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_is_taken_from_a_message() {
        let column = |message: &str| name_after(message, &["column ", "Column ", "Field "]);
        assert_eq!(column("Data truncated for column 'kind' at row 1").as_deref(), Some("kind"));
        let incorrect = "Incorrect datetime value: 'for column x' for column `db`.`orders`.`paid_at` at row 3";
        assert_eq!(column(incorrect).as_deref(), Some("paid_at"));
        assert_eq!(column("Column 'a_b' cannot be null").as_deref(), Some("a_b"));
        assert_eq!(column("Field 'x' doesn't have a default value").as_deref(), Some("x"));
        assert_eq!(column("secret"), None);
        let check = "CONSTRAINT `orders.price` failed for `db`.`orders`";
        assert_eq!(name_after(check, &["CONSTRAINT "]).as_deref(), Some("orders.price"));
        let key = "Duplicate entry 'secret' for key 'bid'";
        assert_eq!(name_after(key, &["for key "]).as_deref(), Some("bid"));
    }

    #[test]
    fn only_a_full_disk_is_called_no_space() {
        assert!(is_out_of_space(1005, "Can't create table `a`.`b` (errno: 28 \"No space left on device\")"));
        assert!(!is_out_of_space(1005, "Can't create table `a`.`b` (errno: 140 \"Wrong create options\")"));
        assert!(!is_out_of_space(1030, "Got error 281 from storage engine"));
        assert!(is_out_of_space(1030, "Got error 28 \"No space left on device\" from storage engine InnoDB"));
        assert!(is_out_of_space(1114, "The table 't' is full"));
    }
}
