//! Measures a backup of a tenant against `mariadb-dump --single-transaction | zstd` into a file.
//!
//! One side is the whole command `provisioner backup`. It writes one moment of every table to the disk, compressed at
//! the same level and sealed in chunks under a key of its own. It also reads all rows a second time, for the checksum
//! of every table that a restore is compared with. The other side makes the same SQL and ends when its file is on the
//! disk.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::install::{self, Tool};
use harness::legacy::fill;
use harness::legacy::schema::{self, Generation};
use harness::stack::Stack;
use harness::stack::{Env, Role};

use super::foreign::Watch;
use super::legacy::{client, options};
use super::report::{Comparison, Figure, Goal, Turn};

/// Number of rows of the tenant.
const ROWS: u64 = 400_000;
/// The seed of the rows: every run has the same rows.
const SEED: u64 = 1;
const TENANT: &str = "bench-backup";
const DATABASE: &str = "ai_shifu_tenant_bench-backup";
const FILLED: &str = "bench_filled";

pub async fn measure(stack: &mut Stack, rounds: usize) -> Result<Comparison> {
    install::ensure(&[Tool::Zstd]).await?;
    eprintln!("backup: filling a tenant with {ROWS} rows");
    let root = stack.urls.root.clone();
    stack.admin().create_active_tenant(TENANT, None, Duration::from_secs(30)).await?;
    schema::create(&root, FILLED, Generation::September2025).await?;
    fill::fill(&root, FILLED, SEED, ROWS).await?;
    let mut connection = schema::connect(&root, FILLED).await?;
    for table in harness::legacy::checksum::tables(&root, FILLED).await? {
        let name = table.name;
        let moved =
            format!("DROP TABLE IF EXISTS `{DATABASE}`.`{name}`; RENAME TABLE `{name}` TO `{DATABASE}`.`{name}`");
        sqlx::raw_sql(&moved).execute(&mut connection).await?;
    }
    let watch = Watch::new(stack);
    eprintln!("backup: warming up");
    let megabytes = ours(stack).await?.1;
    bare(stack).await?;
    let (mut turns, mut taken, mut dumped) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        let begun = watch.now()?;
        let (backup, dump) = if round % 2 == 0 {
            let backup = ours(stack).await?.0;
            (backup, bare(stack).await?)
        } else {
            let dump = bare(stack).await?;
            (ours(stack).await?.0, dump)
        };
        let others = watch.others_since(&begun)?;
        eprintln!("backup {round}/{rounds}: {backup:.1} s, dump {dump:.1} s");
        turns.push(Turn { ratio: dump / backup, others });
        taken.push(megabytes / backup);
        dumped.push(megabytes / dump);
    }
    let figures =
        vec![Figure::of("backup", "MB of SQL a second", taken), Figure::of("dump", "MB of SQL a second", dumped)];
    Ok(Comparison::new("backup", "speed of a backup / mariadb-dump and zstd", Goal::AtLeast(0.5), turns, figures))
}

/// Returns the seconds it took, and the megabytes of SQL before compression.
async fn ours(stack: &Stack) -> Result<(f64, f64)> {
    let env: Env = vec![("BACKUP_STORE".to_owned(), format!("file://{}/backups", stack.dir().display()))];
    let begun = Instant::now();
    let said = stack.run(Role::Provisioner, &["backup", TENANT, "--json"], &env).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let said: serde_json::Value = serde_json::from_str(&said).context("read the output of `provisioner backup`")?;
    Ok((seconds, said["dump_bytes"].as_f64().context("its size")? / 1e6))
}

async fn bare(stack: &Stack) -> Result<f64> {
    let file = stack.dir().join("bare.sql.zst");
    let from = options(stack, "dump", &stack.urls.root)?;
    let begun = Instant::now();
    let mut dump = client("mariadb-dump", &from)?
        .args(["--single-transaction", "--default-character-set=utf8mb4", DATABASE])
        .stdout(Stdio::piped())
        .spawn()
        .context("start mariadb-dump")?;
    let pipe: Stdio = dump.stdout.take().context("the output is piped")?.try_into()?;
    let zstd = install::program("zstd").context("zstd is not installed")?;
    let packed = tokio::process::Command::new(zstd)
        .args(["-3", "--quiet", "--force", "-o"])
        .arg(&file)
        .stdin(pipe)
        .kill_on_drop(true)
        .status()
        .await?;
    let dumped = dump.wait().await?;
    std::fs::File::open(&file)?.sync_all()?;
    let took = begun.elapsed().as_secs_f64();
    ensure!(dumped.success() && packed.success(), "dump: {dumped}, zstd: {packed}");
    Ok(took)
}
