//! Fills the tables with ordinary rows, by statements of many rows on several connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use sqlx::{Connection, Executor, MySqlConnection};

use super::columns::{self, Table};
use super::ordinary::{self, World};
use super::schema;

/// Rows of one statement, and statements of one transaction. More of them would save no further wait for the disk.
const ROWS: u64 = 1000;
const STATEMENTS: u64 = 8;
/// With two cores, more connections wait for each other.
const CONNECTIONS: usize = 3;
/// The least number of rows of a table.
const LEAST: u64 = 20;

/// Shares of the rows in thousandths: most rows of AI-Shifu come from what its users do. A table that is not named
/// here has one share.
const SHARES: [(&str, u64); 9] = [
    ("learn_generated_blocks", 380),
    ("learn_progress_records", 220),
    ("user_info", 100),
    ("order_orders", 80),
    ("user_token", 50),
    ("user_profile", 50),
    ("order_pingxx_orders", 30),
    ("promo_coupon_usages", 30),
    ("user_verify_code", 30),
];

/// Fills every table but `alembic_version`, in which the migrations of AI-Shifu record their revision.
pub async fn fill(root_url: &str, database: &str, seed: u64, rows: u64) -> Result<()> {
    let mut connection = schema::connect(root_url, database).await?;
    let tables = columns::of(&mut connection, database).await?;
    let shares: u64 = tables.iter().map(share).sum();
    let of = |table: &Table| (rows * share(table) / shares).max(LEAST);
    let users = tables.iter().find(|table| table.name == "user_info").map_or(1, &of);
    let planned = tables.iter().filter(|table| table.name != "alembic_version");
    let work: Vec<_> = planned.flat_map(|table| chunks(table, of(table))).collect();
    // The revision of AI-Shifu. A migrator does not need it, and copies it.
    sqlx::raw_sql("REPLACE INTO alembic_version VALUES ('63a0479d46e3')").execute(&mut connection).await?;
    connection.close().await?;
    run(root_url, database, World { users }, seed, work).await
}

/// Fills one table.
pub async fn fill_table(root_url: &str, database: &str, seed: u64, table: &str, rows: u64) -> Result<()> {
    let mut connection = schema::connect(root_url, database).await?;
    let tables = columns::of(&mut connection, database).await?;
    connection.close().await?;
    let table = tables.iter().find(|known| known.name == table).with_context(|| format!("no table {table}"))?;
    run(root_url, database, World { users: 1000 }, seed, chunks(table, rows)).await
}

fn share(table: &Table) -> u64 {
    SHARES.iter().find(|(name, _)| *name == table.name).map_or(1, |(_, share)| *share)
}

/// The rows of one transaction: from `begin` to before `end`.
struct Chunk {
    table: Table,
    begin: u64,
    end: u64,
}

fn chunks(table: &Table, rows: u64) -> Vec<Chunk> {
    let step = ROWS * STATEMENTS;
    let begins = (0..rows.div_ceil(step)).map(|chunk| chunk * step);
    begins.map(|begin| Chunk { table: table.clone(), begin, end: (begin + step).min(rows) }).collect()
}

async fn run(root_url: &str, database: &str, world: World, seed: u64, work: Vec<Chunk>) -> Result<()> {
    let (work, next) = (Arc::new(work), Arc::new(AtomicUsize::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS.min(work.len()) {
        let mut connection = schema::connect(root_url, database).await?;
        let (work, next) = (Arc::clone(&work), Arc::clone(&next));
        tasks.spawn(async move {
            while let Some(chunk) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                insert(&mut connection, world, seed, chunk).await?;
            }
            Ok::<_, anyhow::Error>(connection.close().await?)
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

async fn insert(connection: &mut MySqlConnection, world: World, seed: u64, chunk: &Chunk) -> Result<()> {
    let Chunk { table, begin, end } = chunk;
    let mut transaction = connection.begin().await?;
    let mut sql = String::new();
    for first in (*begin..*end).step_by(ROWS as usize) {
        sql.clear();
        sql.push_str("INSERT INTO `");
        sql.push_str(&table.name);
        sql.push_str("` VALUES ");
        let rows = first..(first + ROWS).min(*end);
        for number in rows.clone() {
            if number > first {
                sql.push(',');
            }
            ordinary::row(&mut sql, table, world, seed, number);
        }
        let done = transaction.execute(sqlx::raw_sql(&sql)).await;
        let done = done.with_context(|| format!("fill {}", table.name))?.rows_affected();
        ensure!(done == rows.end - rows.start, "{} took {done} rows", table.name);
    }
    Ok(transaction.commit().await?)
}
