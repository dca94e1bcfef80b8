//! The administrator's connection for one job, which also holds the tenant's lock on the server.
//!
//! The lock and the statements share one connection, so a worker that takes a job over ends both at once: it kills the
//! connection that holds the lock. A session never reconnects, so a worker that has lost its job without knowing it can
//! do nothing more.

use super::account::digest;
use super::{Dialect, Server, ServerError};
use kernel::database;
use kernel::database::sql;
use kernel::domain::TenantId;
use sqlx::{Connection, Executor, MySqlConnection};
use uuid::Uuid;

/// The name of a lock. It begins with a digest of the installation, so that no session of another installation or of
/// another program is taken for one of our workers.
///
/// Programs from before migration 26 use names without the digest. While both run, a lock is taken under both names, so
/// that neither works beside the other. The next version needs the one name only.
#[derive(Clone, Debug)]
pub struct Lock {
    name: String,
    /// Its name in programs from before migration 26.
    former: Option<String>,
    /// The lock that a command of the migrator holds beside this one. Its session is not killed.
    beside: Option<String>,
}

impl Lock {
    /// The lock of everything that is done for a tenant on a server.
    pub fn of_tenant(installation: &str, tenant_id: &TenantId) -> Self {
        let beside = Some(named(installation, &format!("legacy:{tenant_id}")));
        Self { beside, ..Self::with_former(installation, format!("tenant:{tenant_id}")) }
    }

    /// The lock of the restore tests of a tenant.
    pub fn of_restore_test(installation: &str, tenant_id: &TenantId) -> Self {
        Self::with_former(installation, format!("restore-test:{tenant_id}"))
    }

    /// The lock of one job of a server: two jobs do not exclude each other.
    pub fn of_job(installation: &str, operation_id: Uuid) -> Self {
        Self::new(installation, &format!("job:{operation_id}"))
    }

    fn new(installation: &str, what: &str) -> Self {
        Self { name: named(installation, what), former: None, beside: None }
    }

    fn with_former(installation: &str, what: String) -> Self {
        Self { former: Some(what.clone()), ..Self::new(installation, &what) }
    }
}

fn named(installation: &str, what: &str) -> String {
    format!("saas:{}:{what}", digest(installation, 4))
}

/// Seconds until the lock of a killed connection must be free.
const LOCK_WAIT: u32 = 5;

/// A connection of the administrator that holds a lock.
pub struct Session {
    connection: MySqlConnection,
    /// The kind of the server.
    pub dialect: Dialect,
}

impl Session {
    /// Connects and takes the lock. The caller has the lease of a job that this lock belongs to, so a session that
    /// holds the lock belongs to a worker that has lost the lease: it is killed.
    pub async fn open(server: &Server, lock: &Lock) -> Result<Self, ServerError> {
        let mut session = Self::unlocked(server).await?;
        session.lock(lock).await?;
        Ok(session)
    }

    /// Like [`Session::open`], but a server that did not answer a moment ago is not waited for.
    pub async fn open_unless_away(server: &Server, lock: &Lock) -> Result<Self, ServerError> {
        let mut session = Self::on(server, server.connect_unless_away().await?).await?;
        session.lock(lock).await?;
        Ok(session)
    }

    /// Connects and takes the lock if no session holds it. `None`: one does.
    pub async fn open_if_free(server: &Server, lock: &Lock) -> Result<Option<Self>, ServerError> {
        let mut session = Self::unlocked(server).await?;
        let mut free = session.try_lock(&lock.name, 0).await?;
        if let (true, Some(former)) = (free, &lock.former) {
            free = session.try_lock(former, 0).await? || session.worker_with(former).await?.is_none();
        }
        if free {
            return Ok(Some(session));
        }
        session.close().await;
        Ok(None)
    }

    /// Connects for a command of the migrator, which excludes the jobs of a tenant for as long as it works and has no
    /// lease. It waits up to `patience` seconds for a job that is at work. `None`: a job still is.
    ///
    /// One command is at work at a time, so a session that holds the lock beside `lock` is of a killed one.
    pub async fn open_beside_jobs(server: &Server, lock: &Lock, patience: u32) -> Result<Option<Self>, ServerError> {
        let mut session = Self::unlocked(server).await?;
        // The session is idle while the command copies.
        session.execute("SET SESSION wait_timeout = 86400").await?;
        if let Some(beside) = &lock.beside {
            session.lock_name(beside, None).await?;
        }
        let mut free = session.try_lock(&lock.name, patience).await?;
        if let (true, Some(former)) = (free, &lock.former) {
            free = session.try_lock(former, patience).await? || session.worker_with(former).await?.is_none();
        }
        if free {
            return Ok(Some(session));
        }
        session.close().await;
        Ok(None)
    }

    /// Whether the connection lives, and with it the lock.
    pub async fn is_alive(&mut self) -> bool {
        self.connection.ping().await.is_ok()
    }

    async fn unlocked(server: &Server) -> Result<Self, ServerError> {
        Self::on(server, server.connect().await?).await
    }

    async fn on(server: &Server, mut connection: MySqlConnection) -> Result<Self, ServerError> {
        let dialect = server.learn_dialect(&mut connection).await?;
        Ok(Self { connection, dialect })
    }

    async fn try_lock(&mut self, name: &str, wait: u32) -> Result<bool, ServerError> {
        let (locked,): (Option<i64>,) =
            sqlx::query_as("SELECT GET_LOCK(?, ?)").bind(name).bind(wait).fetch_one(&mut self.connection).await?;
        Ok(locked == Some(1))
    }

    async fn lock(&mut self, lock: &Lock) -> Result<(), ServerError> {
        self.lock_name(&lock.name, lock.beside.as_deref()).await?;
        match &lock.former {
            Some(former) => self.lock_former(former).await,
            None => Ok(()),
        }
    }

    /// Takes the lock of this name, and kills the session that holds it, unless that also holds the lock `beside`.
    async fn lock_name(&mut self, name: &str, beside: Option<&str>) -> Result<(), ServerError> {
        for wait in [0, LOCK_WAIT] {
            if self.try_lock(name, wait).await? {
                return Ok(());
            }
            let holder = self.holder_of(name).await?;
            if let (Some(beside), Some(holder)) = (beside, holder)
                && self.holder_of(beside).await? == Some(holder)
            {
                return Err(ServerError::MoveAtWork { lock: name.to_owned() });
            }
            self.kill_holder(name, holder).await;
        }
        Err(ServerError::LockHeld { lock: name.to_owned() })
    }

    /// The same for a name of older programs. Another program may hold it, which is left alone: then the lock is not
    /// needed, because no worker has it.
    async fn lock_former(&mut self, name: &str) -> Result<(), ServerError> {
        for wait in [0, LOCK_WAIT] {
            if self.try_lock(name, wait).await? {
                return Ok(());
            }
            let holder = self.worker_with(name).await?;
            if holder.is_none() && self.holder_of(name).await?.is_some() {
                return Ok(());
            }
            self.kill_holder(name, holder).await;
        }
        Err(ServerError::LockHeld { lock: name.to_owned() })
    }

    async fn kill_holder(&mut self, name: &str, holder: Option<u64>) {
        if let Some(holder) = holder {
            tracing::warn!(holder, lock = name, "killing the connection of a worker that lost this job");
            // An error means that the connection has ended by itself.
            let _ = self.connection.execute(format!("KILL {holder}").as_str()).await;
        }
    }

    /// The connection that holds the lock of this name.
    async fn holder_of(&mut self, name: &str) -> Result<Option<u64>, ServerError> {
        let (holder,): (Option<u64>,) = sqlx::query_as("SELECT CAST(IS_USED_LOCK(?) AS UNSIGNED)")
            .bind(name)
            .fetch_one(&mut self.connection)
            .await?;
        Ok(holder)
    }

    /// The connection that holds the lock of this name, if it is one of this session's own account: of a worker.
    async fn worker_with(&mut self, name: &str) -> Result<Option<u64>, ServerError> {
        let Some(holder) = self.holder_of(name).await? else { return Ok(None) };
        let (user,): (String,) = sqlx::query_as("SELECT CONVERT(SUBSTRING_INDEX(USER(), '@', 1) USING utf8mb4)")
            .fetch_one(&mut self.connection)
            .await?;
        let ours = self.sessions_of(&user).await?;
        Ok(Some(holder).filter(|holder| ours.contains(holder)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_the_installations_own_and_fits_the_server() {
        let longest = "a".repeat(32).parse().unwrap();
        for lock in
            [Lock::of_tenant("i1", &longest), Lock::of_restore_test("i1", &longest), Lock::of_job("i1", Uuid::now_v7())]
        {
            assert!(lock.name.len() <= 64, "MySQL allows 64 characters: {}", lock.name);
        }
        assert_ne!(Lock::of_tenant("i1", &longest).name, Lock::of_tenant("i2", &longest).name);
    }
}
