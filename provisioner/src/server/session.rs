//! One administrator's connection for one job, holding the tenant's lock on that very connection.
//!
//! The lock and the DDL share the connection, so whoever takes a job over can end both at once: it kills the connection
//! that holds the lock. There is no reconnect: a session that was killed stays dead, and with it the worker that thought it
//! still had the job.

use super::{Dialect, Server, ServerError};
use kernel::database;
use kernel::database::sql;
use kernel::domain::TenantId;
use sqlx::{Connection, Executor, MySqlConnection};

/// Seconds to wait for a killed holder's lock to be free.
const LOCK_WAIT: u32 = 5;

/// See the module.
pub struct Session {
    connection: MySqlConnection,
    /// What kind of server it is on.
    pub dialect: Dialect,
}

impl Session {
    /// Connects and takes the tenant's lock, from its holder if need be: the caller has the job's lease, so the holder
    /// has lost it.
    pub async fn open(server: &Server, tenant_id: &TenantId) -> Result<Self, ServerError> {
        Self::open_as(server, &format!("tenant:{tenant_id}")).await
    }

    /// The same with another lock, for work that is no tenant's.
    pub async fn open_as(server: &Server, lock: &str) -> Result<Self, ServerError> {
        let mut connection = server.connect().await?;
        let dialect = server.learn_dialect(&mut connection).await?;
        let mut session = Self { connection, dialect };
        session.lock(lock).await?;
        Ok(session)
    }

    async fn lock(&mut self, name: &str) -> Result<(), ServerError> {
        for wait in [0, LOCK_WAIT] {
            let (locked,): (Option<i64>,) =
                sqlx::query_as("SELECT GET_LOCK(?, ?)").bind(name).bind(wait).fetch_one(&mut self.connection).await?;
            if locked == Some(1) {
                return Ok(());
            }
            let (holder,): (Option<u64>,) = sqlx::query_as("SELECT CAST(IS_USED_LOCK(?) AS UNSIGNED)")
                .bind(name)
                .fetch_one(&mut self.connection)
                .await?;
            if let Some(holder) = holder {
                tracing::warn!(holder, lock = name, "killing the connection of a worker that lost this job");
                // Gone already is as good.
                let _ = self.connection.execute(format!("KILL {holder}").as_str()).await;
            }
        }
        Err(ServerError::LockHeld { lock: name.to_owned() })
    }

    /// The connection, for bound statements.
    pub fn connection(&mut self) -> &mut MySqlConnection {
        &mut self.connection
    }

    /// Runs statements that take no bound values. Their names and literals come from `kernel::database::sql`.
    pub async fn execute(&mut self, statements: &str) -> Result<(), ServerError> {
        self.connection.execute(sqlx::raw_sql(statements)).await?;
        Ok(())
    }

    /// Makes a database the one that names without one are of.
    pub async fn enter(&mut self, database: &str) -> Result<(), ServerError> {
        self.execute(&format!("USE {}", sql::identifier(database)?)).await
    }

    /// Ends the session and with it the lock.
    pub async fn close(self) {
        let _ = tokio::time::timeout(database::ACQUIRE_TIMEOUT, self.connection.close()).await;
    }
}

impl Server {
    /// The server's dialect, asked once: a server does not change its kind while a process runs.
    pub async fn learn_dialect(&self, connection: &mut MySqlConnection) -> Result<Dialect, ServerError> {
        if let Some(dialect) = self.dialect.get() {
            return Ok(*dialect);
        }
        match Dialect::of(connection).await? {
            Ok((dialect, _)) => Ok(*self.dialect.get_or_init(|| dialect)),
            Err(version) => Err(ServerError::TooOld { server: self.id.clone(), version }),
        }
    }
}
