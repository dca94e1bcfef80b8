//! The administrator's connection for one job, which also holds the tenant's lock on the server.
//!
//! The lock and the statements share one connection, so a worker that takes a job over ends both at once: it kills the
//! connection that holds the lock. A session never reconnects, so a worker that has lost its job without knowing it can
//! do nothing more.

use super::{Dialect, Server, ServerError};
use kernel::database;
use kernel::database::sql;
use kernel::domain::TenantId;
use sqlx::{Connection, Executor, MySqlConnection};

/// Seconds until the lock of a killed connection must be free.
const LOCK_WAIT: u32 = 5;

/// A connection of the administrator that holds a lock.
pub struct Session {
    connection: MySqlConnection,
    /// The kind of the server.
    pub dialect: Dialect,
}

impl Session {
    /// Connects and takes the tenant's lock. The caller has the job's lease, so a session that holds the lock belongs
    /// to a worker that has lost the lease: it is killed.
    pub async fn open(server: &Server, tenant_id: &TenantId) -> Result<Self, ServerError> {
        Self::open_as(server, &format!("tenant:{tenant_id}")).await
    }

    /// Connects and takes the lock of this name, for work that belongs to no tenant.
    pub async fn open_as(server: &Server, lock: &str) -> Result<Self, ServerError> {
        let connection = server.connect().await?;
        Self::on(server, connection, lock).await
    }

    /// Like [`Session::open`], but a server that did not answer a moment ago is not waited for.
    pub async fn open_unless_away(server: &Server, tenant_id: &TenantId) -> Result<Self, ServerError> {
        let connection = server.connect_unless_away().await?;
        Self::on(server, connection, &format!("tenant:{tenant_id}")).await
    }

    async fn on(server: &Server, mut connection: MySqlConnection, lock: &str) -> Result<Self, ServerError> {
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
                // An error means that the connection has ended by itself.
                let _ = self.connection.execute(format!("KILL {holder}").as_str()).await;
            }
        }
        Err(ServerError::LockHeld { lock: name.to_owned() })
    }

    /// The connection, for statements with bound values.
    pub fn connection(&mut self) -> &mut MySqlConnection {
        &mut self.connection
    }

    /// Runs statements that take no bound values. Their names and literals must come from `kernel::database::sql`.
    pub async fn execute(&mut self, statements: &str) -> Result<(), ServerError> {
        self.connection.execute(sqlx::raw_sql(statements)).await?;
        Ok(())
    }

    /// Makes `database` the one in which unqualified names are looked up.
    pub async fn enter(&mut self, database: &str) -> Result<(), ServerError> {
        self.execute(&format!("USE {}", sql::identifier(database)?)).await
    }

    /// Ends the session and with it the lock. A connection that does not end in time is dropped.
    pub async fn close(self) {
        let _ = tokio::time::timeout(database::ACQUIRE_TIMEOUT, self.connection.close()).await;
    }
}

impl Server {
    /// The server's dialect. It is asked once, because a server does not change its kind while a process runs.
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
