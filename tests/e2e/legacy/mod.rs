//! `provisioner legacy` moves the old single database into the new system, and back.
//!
//! The old database is on a server of its own, in another time zone, with an account that has exactly the rights that
//! the command requires. Checksums that are computed here decide whether both sides are equal
//! ([`harness::legacy::checksum`]).

mod arrival;
mod calls;
mod changes;
mod conflicts;
mod cutover;
mod figures;
mod kills;
mod memory;
mod old_application;
mod planted;
mod refusals;
mod sessions;
mod shut;
mod writers;

use harness::servers::Server;
use std::process::ExitStatus;
use std::time::Duration;

use crate::world::Answer;
use anyhow::{Context, Result, ensure};
use harness::files::random_secret;
use harness::legacy::checksum::{self, Sums};
use harness::legacy::columns::Table;
use harness::legacy::schema::{self, DATABASE, Generation};
use harness::legacy::{fill, oddities};
use harness::process::Process;
use harness::servers::mariadb::{MariaDb, Options};
use harness::stack::Stack;
use harness::stack::{Env, Role};
use serde_json::Value;
use sqlx::MySqlConnection;

/// The seed of every database of these tests.
const SEED: u64 = 20_250_923;

/// Exit codes of the command.
const REFUSED: i32 = 3;
const FOUND: i32 = 4;

/// Rights that `import`, `verify` and `sync` need; `rollback` also needs [`WRITING`].
const READING: &str = "SELECT, LOCK TABLES";
const WRITING: &str = "INSERT, DELETE";

/// An old database on its server.
struct Old {
    server: MariaDb,
    password: String,
}

impl Old {
    /// Creates an empty database of this generation.
    async fn empty(stack: &Stack, generation: Generation) -> Result<Self> {
        // The clock of the old company's server is not in UTC.
        let extra = vec!["--default-time-zone=+08:00".to_owned()];
        let options = Options { small_buffer_pool: true, extra, ..Options::default() };
        let server = MariaDb::start(&stack.dir().join("legacy"), &options).await?;
        schema::create(&server.url(), DATABASE, generation).await?;
        let old = Self { server, password: random_secret() };
        // An underscore is a wildcard in a grant.
        let account = format!(
            "CREATE USER mover IDENTIFIED BY '{}'; GRANT {READING} ON `{}`.* TO mover",
            old.password,
            DATABASE.replace('_', "\\_")
        );
        sqlx::raw_sql(&account).execute(&mut old.connect().await?).await?;
        Ok(old)
    }

    /// Creates a database with at least so many rows and with every oddity.
    async fn filled(stack: &Stack, generation: Generation, rows: u64) -> Result<Self> {
        let old = Self::empty(stack, generation).await?;
        let root = old.server.url();
        fill::fill(&root, DATABASE, SEED, rows).await?;
        oddities::plant(&root, DATABASE, SEED).await?;
        Ok(old)
    }

    /// A connection with every right, in a session that stores exactly the values it is given.
    async fn connect(&self) -> Result<MySqlConnection> {
        schema::connect(&self.server.url(), DATABASE).await
    }

    async fn allow(&self, rights: &str) -> Result<()> {
        let grant = format!("GRANT {rights} ON `{}`.* TO mover", DATABASE.replace('_', "\\_"));
        sqlx::raw_sql(&grant).execute(&mut self.connect().await?).await?;
        Ok(())
    }

    fn url(&self) -> String {
        self.server.account_url("mover", &self.password, DATABASE)
    }

    fn env(&self) -> Env {
        vec![("LEGACY_DB_URL".to_owned(), self.url())]
    }

    /// Runs `provisioner legacy ARGS --json`.
    async fn run(&self, stack: &Stack, args: &[&str]) -> Result<Answer> {
        run(stack, args, &self.env()).await
    }

    /// Runs the command, which must succeed, and returns its JSON.
    async fn done(&self, stack: &Stack, args: &[&str]) -> Result<Value> {
        Ok(self.run(stack, args).await?.expect(0)?.json)
    }

    /// Starts the command and returns at once.
    fn start(&self, stack: &Stack, args: &[&str]) -> Result<Process> {
        let args = [&["legacy"], args].concat();
        Process::start(stack.command(Role::Provisioner, "legacy", &args, &self.env())?)
    }

    async fn tables(&self) -> Result<Vec<Table>> {
        checksum::tables(&self.server.url(), DATABASE).await
    }

    async fn sums(&self) -> Result<Sums> {
        checksum::of_database(&self.server.url(), DATABASE).await
    }

    /// The checksums of the same tables in the new system.
    async fn sums_in_new(&self, stack: &Stack) -> Result<Sums> {
        checksum::of_new(&stack.urls.root, &self.tables().await?).await
    }

    /// Checks that both sides hold the same rows, to the byte.
    async fn assert_equal(&self, stack: &Stack, when: &str) -> Result<()> {
        let (old, new) = (self.sums().await?, self.sums_in_new(stack).await?);
        let different = checksum::differences(&old, &new);
        ensure!(different.is_empty(), "{when}:\n{}", different.join("\n"));
        Ok(())
    }
}

async fn run(stack: &Stack, args: &[&str], env: &Env) -> Result<Answer> {
    let args = [&["legacy"], args, &["--json"]].concat();
    Ok(Answer::of(&stack.output(Role::Provisioner, &args, env).await?))
}

/// Waits for the end of a started command.
async fn ended(process: &mut Process) -> Result<ExitStatus> {
    process.ended(Duration::from_secs(120)).await.context("the command does not end")
}

/// Every distinct user id that a member of a tenant can have.
async fn expected_members(old: &Old) -> Result<Vec<String>> {
    let rows: Vec<(String,)> =
        sqlx::query_as("SELECT user_id FROM user_info ORDER BY id").fetch_all(&mut old.connect().await?).await?;
    let mut members: Vec<String> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for (user_id,) in rows {
        let fits = (1..=36).contains(&user_id.len()) && user_id.bytes().all(|byte| byte.is_ascii_graphic());
        if fits && seen.insert(user_id.clone()) {
            members.push(user_id);
        }
    }
    members.sort();
    Ok(members)
}

async fn members(stack: &Stack) -> Result<Vec<String>> {
    let query = "SELECT user_id FROM saas_tenant_users WHERE tenant_id = 'default' AND deleted = 0";
    let rows: Vec<(String,)> = sqlx::query_as(query).fetch_all(&mut crate::world::system(stack).await?).await?;
    let mut members: Vec<String> = rows.into_iter().map(|(user_id,)| user_id).collect();
    members.sort();
    Ok(members)
}
