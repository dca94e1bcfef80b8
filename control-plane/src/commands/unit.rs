//! The unit of work of a command: one transaction of the system database.
//!
//! **Guarantees.** Everything that a command does (events, a job, a user, a token) commits together or not at all.
//! Commands on one tenant wait for each other, so none is refused because another one was faster. A wait ends after the
//! time that a session waits for a lock, and the caller gets 503 with `Retry-After`. Those that wait hold few
//! connections ([`Store::turn`]), so commands on other tenants and readers go on.

use kernel::domain::{Rejection, TenantId};
use kernel::http::{ApiError, Code};
use kernel::store::{CommandError, Store, UnitOfWork};

/// A command that changes the system database. It runs again from the start, once, if the database ended its
/// transaction in favour of another one.
pub trait Write: Sync {
    /// What its caller learns.
    type Done: Send;

    /// The existing tenant that it changes. A caller may name the version that the tenant must have, and commands on
    /// one tenant take turns. A command that wraps another one passes this on.
    fn tenant(&self) -> Option<&TenantId> {
        None
    }

    /// Does it inside `unit`. Events record `actor`.
    fn run(&self, unit: &mut UnitOfWork, actor: &str) -> impl Future<Output = Result<Self::Done, Refusal>> + Send;
}

/// Why a command did nothing.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The tenant's rules, another tenant, or the database.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The request itself.
    #[error("{}{}", .0.code().name(), detail(.0))]
    Api(ApiError),
}

fn detail(error: &ApiError) -> String {
    let detail = error.member("detail").and_then(|detail| detail.as_str());
    detail.map_or_else(String::new, |detail| format!(": {detail}"))
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::Command(error.into())
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self::Api(code.into())
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Api(error) => error,
            Refusal::Command(CommandError::DomainTaken(domain)) => {
                ApiError::from(Code::DomainTaken).with("field", "domain").with("domain", domain.as_str())
            }
            Refusal::Command(CommandError::Conflict) => Code::Unavailable.into(),
            Refusal::Command(CommandError::Database(error)) => ApiError::database(&error),
            Refusal::Command(CommandError::Rejected(rejection)) => match rejection {
                Rejection::Exists => ApiError::from(Code::TenantExists).with("field", "tenant_id"),
                Rejection::NotFound => Code::TenantNotFound.into(),
                Rejection::State(state) => ApiError::from(Code::InvalidState).with("state", state.as_str()),
                Rejection::DomainPresent => ApiError::from(Code::DomainPresent).with("field", "domain"),
                Rejection::DomainAbsent => ApiError::from(Code::DomainNotFound).with("field", "domain"),
                Rejection::ServerPresent => {
                    ApiError::invalid("server", "server", "another server than the one that the tenant is on")
                }
            },
        }
    }
}

/// Performs `write` in a unit of its own.
pub async fn perform<W: Write>(store: &Store, actor: &str, write: &W) -> Result<W::Done, Refusal> {
    let mut retried = false;
    let _turn = store.turn(write.tenant()).await?;
    loop {
        let mut unit = store.begin().await?;
        match write.run(&mut unit, actor).await {
            Ok(done) => {
                unit.commit().await?;
                return Ok(done);
            }
            Err(refusal) => {
                unit.rollback().await?;
                match refusal {
                    Refusal::Command(error) if error.is_conflict() && !retried => retried = true,
                    refusal => return Err(refusal),
                }
            }
        }
    }
}
