//! Measures the import of a legacy database against `mariadb-dump --single-transaction old | mariadb new`.
//!
//! One side is the whole command `provisioner legacy import`. It compares both schemas, copies every row into the new
//! one, records checkpoints and makes every user a member by an event. The other side copies the old tables unchanged,
//! with one connection to each server. Both sides take turns, read the same rows from one server and write them to
//! another, into tables that are empty at the beginning.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::files::write_private;
use harness::install;
use harness::legacy::schema::{self, Generation};
use harness::legacy::{checksum, destination, fill};
use harness::servers::Server;
use harness::servers::mariadb::{MariaDb, Options};
use harness::stack::Stack;
use harness::stack::{Env, Role};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, MySqlConnection};
use tokio::process::Command;

use super::foreign::Watch;
use super::report::{Comparison, Figure, Goal, Turn};

/// Number of rows of the legacy database.
const ROWS: u64 = 200_000;
/// The seed of the rows: every run has the same rows.
const SEED: u64 = 1;
/// The legacy database, an empty one whose import undoes a turn, and the target of the plain copy.
const OLD: &str = "ai_shifu";
const EMPTY: &str = "ai_shifu_empty";
const COPY: &str = "bench_bare_legacy";

/// The result of one import.
struct Imported {
    rows: f64,
    megabytes: f64,
    seconds: f64,
}

pub async fn measure(stack: &mut Stack, rounds: usize) -> Result<Comparison> {
    eprintln!("legacy: filling an old database with {ROWS} rows");
    let mut old = MariaDb::start(&stack.dir().join("legacy"), &Options::default()).await?;
    let watch = Watch::new(stack).with(&[old.process().pid()]);
    for database in [OLD, EMPTY] {
        schema::create(&old.url(), database, Generation::September2025).await?;
    }
    fill::fill(&old.url(), OLD, SEED, ROWS).await?;
    // The share of each table is rounded, so the sum differs from `ROWS`.
    let rows = checksum::of_database(&old.url(), OLD).await?.values().map(|sum| sum.rows).sum();
    let mut system = connect(&stack.urls.root).await?;
    eprintln!("legacy: warming up");
    import(stack, &old, rows).await?;
    copy(stack, &old, &mut system).await?;
    let (mut turns, mut ours, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        undo(stack, &old, &mut system).await?;
        let begun = watch.now()?;
        let (imported, copied) = if round % 2 == 0 {
            let imported = import(stack, &old, rows).await?;
            (imported, copy(stack, &old, &mut system).await?)
        } else {
            let copied = copy(stack, &old, &mut system).await?;
            (import(stack, &old, rows).await?, copied)
        };
        let others = watch.others_since(&begun)?;
        let copied = copied.as_secs_f64();
        eprintln!("legacy {round}/{rounds}: {:.1} s, dump and restore {copied:.1} s", imported.seconds);
        turns.push(Turn { ratio: copied / imported.seconds, others });
        bare.push(copied);
        ours.push(imported);
    }
    old.stop().await?;
    let each = |of: fn(&Imported) -> f64| ours.iter().map(of).collect::<Vec<_>>();
    let (rows, megabytes) = (ours[0].rows, ours[0].megabytes);
    let figures = vec![
        Figure::of("import", "rows a second", each(|imported| imported.rows / imported.seconds)),
        Figure::of("import", "MB a second", each(|imported| imported.megabytes / imported.seconds)),
        Figure::of("dump and restore", "rows a second", bare.iter().map(|seconds| rows / seconds)),
        Figure::of("dump and restore", "MB a second", bare.iter().map(|seconds| megabytes / seconds)),
    ];
    Ok(Comparison::new("legacy", "speed of import / dump and restore", Goal::AtLeast(0.8), turns, figures))
}

async fn connect(url: &str) -> Result<MySqlConnection> {
    let options: MySqlConnectOptions = url.parse()?;
    Ok(options.disable_statement_logging().connect().await?)
}

async fn import(stack: &Stack, old: &MariaDb, expected: u64) -> Result<Imported> {
    let begun = Instant::now();
    let said = run_import(stack, old, OLD).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let number = |field: &str| {
        said[field].as_f64().with_context(|| format!("the output of the import has no field {field}: {said}"))
    };
    let rows = number("rows")?;
    ensure!(rows == expected as f64, "the import moved {rows} of {expected} rows");
    Ok(Imported { rows, megabytes: number("bytes")? / 1e6, seconds })
}

async fn run_import(stack: &Stack, old: &MariaDb, database: &str) -> Result<serde_json::Value> {
    let mut url = url::Url::parse(&old.url())?;
    url.set_path(database);
    let env: Env = vec![("LEGACY_DB_URL".to_owned(), url.to_string())];
    let said = stack.run(Role::Provisioner, &["legacy", "import", "--json"], &env).await?;
    serde_json::from_str(&said).context("read the output of `provisioner legacy import`")
}

/// Undoes a turn: it deletes the rows itself, and imports an empty database, which removes the members.
async fn undo(stack: &Stack, old: &MariaDb, connection: &mut MySqlConnection) -> Result<()> {
    let tables = checksum::tables(&old.url(), OLD).await?;
    let names = tables.iter().map(|table| format!("`{}`.`{}`", destination::database(&table.name), table.name));
    let empty: String = names.map(|name| format!("TRUNCATE {name};")).collect();
    let forget = "DELETE FROM ai_shifu_system.saas_legacy_tables; DELETE FROM ai_shifu_system.saas_legacy_import";
    sqlx::raw_sql(&format!("{empty} {forget}")).execute(&mut *connection).await.context("empty the destination")?;
    run_import(stack, old, EMPTY).await?;
    // The import of the empty database stored its own revision.
    sqlx::raw_sql(&format!("{empty} {forget}")).execute(connection).await.map(drop).context("empty the destination")
}

/// Makes the plain copy, into a database of its own on the tenants' server.
async fn copy(stack: &Stack, old: &MariaDb, connection: &mut MySqlConnection) -> Result<Duration> {
    let make = format!("DROP DATABASE IF EXISTS {COPY}; CREATE DATABASE {COPY}");
    sqlx::raw_sql(&make).execute(&mut *connection).await?;
    let (from, to) = (options(stack, "dump", &old.url())?, options(stack, "restore", &stack.urls.root)?);
    let begun = Instant::now();
    let mut dump = client("mariadb-dump", &from)?
        .args(["--single-transaction", "--default-character-set=utf8mb4", OLD])
        .stdout(Stdio::piped())
        .spawn()
        .context("start mariadb-dump")?;
    let pipe: Stdio = dump.stdout.take().context("the output is piped")?.try_into()?;
    let restored = client("mariadb", &to)?.args(["--default-character-set=utf8mb4", COPY]).stdin(pipe).status().await?;
    let dumped = dump.wait().await?;
    let took = begun.elapsed();
    ensure!(dumped.success() && restored.success(), "dump: {dumped}, restore: {restored}");
    let count = format!("SELECT CAST(COUNT(*) AS SIGNED) FROM {COPY}.learn_generated_blocks");
    let rows: i64 = sqlx::query_scalar(&count).fetch_one(&mut *connection).await?;
    ensure!(rows > 0, "the copy is empty");
    sqlx::raw_sql(&format!("DROP DATABASE {COPY}")).execute(connection).await?;
    Ok(took)
}

pub fn client(program: &str, options: &std::path::Path) -> Result<Command> {
    let path = install::program(program).with_context(|| format!("{program} is not installed"))?;
    let mut command = Command::new(path);
    // This must be the first argument. It keeps the client from reading the machine's own configuration.
    command.arg(format!("--defaults-file={}", options.display())).stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

/// Writes the account into a file, because other users of the machine can read arguments.
pub fn options(stack: &Stack, name: &str, url: &str) -> Result<std::path::PathBuf> {
    let options = url::Url::parse(url)?;
    let file = stack.dir().join(format!("{name}.cnf"));
    let content = format!(
        "[client]\nprotocol=tcp\nhost=127.0.0.1\nport={}\nuser={}\npassword={}\n",
        options.port().context("a URL with a port")?,
        options.username(),
        options.password().context("a URL with a password")?,
    );
    write_private(&file, content)?;
    Ok(file)
}
