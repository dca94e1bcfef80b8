//! Why a step failed, and whether trying again makes sense.

use kernel::database;
use kernel::jobs::JobError;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// It may pass.
    #[error("{0}")]
    Transient(String),
    /// Nothing is wrong; something is waited for.
    #[error("{0}")]
    NotYet(String),
    /// It will not pass by itself.
    #[error("{0}")]
    Permanent(String),
    /// The database server's error. [`StepError::reason`] says it in our words.
    #[error("the database server failed")]
    Database(#[from] sqlx::Error),
    /// A sealed password does not open, a name is not fit for SQL.
    #[error("{0}")]
    Unfit(&'static str),
    /// The job belongs to somebody else now.
    #[error(transparent)]
    Job(#[from] JobError),
}

/// Only sealing asks with `?`: opening says whose password it was.
impl From<kernel::crypto::CryptoError> for StepError {
    fn from(_: kernel::crypto::CryptoError) -> Self {
        Self::Unfit("the primary encryption key has sealed as much as is safe")
    }
}

impl From<kernel::database::sql::Unquotable> for StepError {
    fn from(_: kernel::database::sql::Unquotable) -> Self {
        Self::Unfit("a name or literal is not fit for SQL")
    }
}

impl StepError {
    /// Whether another attempt may succeed.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Transient(_) | Self::NotYet(_) | Self::Job(_) => true,
            Self::Permanent(_) | Self::Unfit(_) => false,
            Self::Database(error) => kernel::jobs::is_transient(error) || unknown_to_us(error),
        }
    }

    /// The reason for the operator: our own words, without host names or statements. The server's words are in the log.
    pub fn reason(&self, server: &str) -> String {
        let Self::Database(error) = self else { return self.to_string() };
        if database::is_unreachable(error) {
            return format!("database server {server} cannot be reached");
        }
        match database::number(error) {
            Some(1021 | 1041 | 1114 | 1005 | 1030 | 3) => format!("database server {server} has no space left"),
            Some(1044 | 1045 | 1142 | 1227 | 1410) => {
                format!(
                    "the administrator's account of database server {server} lacks a right or its password is wrong"
                )
            }
            Some(1418 | 1419) => format!(
                "database server {server} lets only SUPER make triggers and functions: set log_bin_trust_function_creators = 1 there"
            ),
            Some(1205 | 1213 | 1020) => format!("database server {server} is busy with the same rows or tables"),
            Some(number) => format!("database server {server} refused a statement (error {number})"),
            None => format!("database server {server} gave an answer that was not understood"),
        }
    }
}

/// Errors that are not known to be permanent are tried again: patience is bounded, a wrong verdict is not.
fn unknown_to_us(error: &sqlx::Error) -> bool {
    !matches!(
        database::number(error),
        Some(
            1021 | 1041 | 1114 | 1005 | 1030 | 3 | 1044 | 1045 | 1142 | 1227 | 1410 | 1418 | 1419 | 1064 | 1102 | 1049
        )
    )
}
