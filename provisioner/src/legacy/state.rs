//! How far the move has come: two tables of the system database, from which the command after a killed one continues.

use super::generation::Generation;
use super::table_plan::Unmapped;
use chrono::NaiveDateTime;
use kernel::database;
use sqlx::{MySqlConnection, Row};
use std::collections::BTreeMap;

/// How far the move has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// An import has begun and is not complete.
    Importing,
    /// Everything was brought over once. `sync` brings what changes.
    Imported,
    /// The new system is the one in use.
    CutOver,
    /// Rows are going back.
    RollingBack,
    /// The old system is the one in use again. `sync` may bring over what changes.
    RolledBack,
}

impl Stage {
    const ALL: [Self; 5] = [Self::Importing, Self::Imported, Self::CutOver, Self::RollingBack, Self::RolledBack];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Importing => "importing",
            Self::Imported => "imported",
            Self::CutOver => "cut_over",
            Self::RollingBack => "rolling_back",
            Self::RolledBack => "rolled_back",
        }
    }
}

/// The row of `saas_legacy_import`.
#[derive(Clone, Debug)]
pub struct Import {
    /// `host:port/database`.
    pub source: String,
    /// The operator's choice for unmapped tables.
    pub unmapped: Unmapped,
    pub stage: Stage,
    /// Number of the newest attempt to import.
    pub run: u32,
    /// A command has shut the default tenant for the last pass. `true`: it began the maintenance.
    pub shut: Option<bool>,
}

/// A row of `saas_legacy_tables`.
#[derive(Clone, Debug, Default)]
pub struct TableState {
    /// Rows up to this key are copied.
    pub last_key: Option<String>,
    /// All rows are copied.
    pub complete: bool,
    /// The attempt that copied the first rows.
    pub first_run: u32,
    /// The newest attempt: the rows are equal to its snapshot, or will be.
    pub last_run: u32,
    pub copied_rows: u64,
    /// The highest key that the source may have given.
    pub newest_key: Option<String>,
    /// Rows and checksum of the source at the cut-over.
    pub cut_over: Option<(u64, String)>,
}

impl TableState {
    /// The highest key that the source may have given.
    pub fn newest(&self) -> Option<i128> {
        self.newest_key.as_deref().and_then(|key| key.parse().ok())
    }

    /// Notes that the source may have given keys up to `key`.
    pub fn raise_newest(&mut self, key: Option<i128>) {
        self.newest_key = self.newest().max(key).map(|key| key.to_string());
    }
}

/// The system database's time, for [`synced`].
pub async fn now(connection: &mut MySqlConnection) -> Result<NaiveDateTime, sqlx::Error> {
    sqlx::query_scalar("SELECT UTC_TIMESTAMP(6)").fetch_one(connection).await
}

/// Records that everything is as the source was at `moment`.
pub async fn synced(connection: &mut MySqlConnection, moment: &NaiveDateTime) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE saas_legacy_import SET synced_at = ? WHERE id = 1")
        .bind(moment)
        .execute(connection)
        .await
        .map(drop)
}

/// Reads how far the move has come. `None` before the first import.
pub async fn read(connection: &mut MySqlConnection) -> Result<Option<Import>, sqlx::Error> {
    let row = sqlx::query("SELECT source, unmapped, state, run, shut FROM saas_legacy_import WHERE id = 1")
        .fetch_optional(connection)
        .await?;
    row.map(|row| {
        let (unmapped, stage) = (database::text(&row, 1)?, database::text(&row, 2)?);
        Ok(Import {
            source: row.try_get(0)?,
            unmapped: if unmapped == "leave" { Unmapped::Leave } else { Unmapped::Carry },
            stage: Stage::ALL
                .into_iter()
                .find(|known| known.as_str() == stage)
                .ok_or_else(|| sqlx::Error::Decode(format!("unknown state {stage} of the import").into()))?,
            run: row.try_get(3)?,
            shut: row.try_get(4)?,
        })
    })
    .transpose()
}

/// Begins an import or another attempt of it; returns the attempt's number.
pub async fn begin(
    connection: &mut MySqlConnection,
    source: &str,
    generation: Generation,
    unmapped: Unmapped,
) -> Result<u32, sqlx::Error> {
    sqlx::query(
        "INSERT INTO saas_legacy_import (id, source, generation, unmapped, state, run, started_at)
         VALUES (1, ?, ?, ?, 'importing', 1, UTC_TIMESTAMP(6))
         ON DUPLICATE KEY UPDATE run = run + 1, state = 'importing'",
    )
    .bind(source)
    .bind(generation.as_str())
    .bind(unmapped.as_str())
    .execute(&mut *connection)
    .await?;
    sqlx::query_scalar("SELECT run FROM saas_legacy_import WHERE id = 1").fetch_one(connection).await
}

/// Records that the move has come to `stage`.
pub async fn enter(connection: &mut MySqlConnection, stage: Stage) -> Result<(), sqlx::Error> {
    let time = match stage {
        Stage::Imported => ", imported_at = COALESCE(imported_at, UTC_TIMESTAMP(6))",
        Stage::CutOver => ", cut_over_at = UTC_TIMESTAMP(6)",
        // A rollback shuts the tenant by itself, and leaves it in maintenance.
        Stage::RollingBack => ", shut = NULL",
        Stage::Importing | Stage::RolledBack => "",
    };
    let update = format!("UPDATE saas_legacy_import SET state = ?{time} WHERE id = 1");
    sqlx::query(&update).bind(stage.as_str()).execute(connection).await.map(drop)
}

/// Records that a command is about to shut the default tenant, or that it is open.
pub async fn set_shut(connection: &mut MySqlConnection, shut: Option<bool>) -> Result<(), sqlx::Error> {
    let update = "UPDATE saas_legacy_import SET shut = ? WHERE id = 1";
    sqlx::query(update).bind(shut).execute(connection).await.map(drop)
}

/// The state of every table that an import has begun.
pub async fn tables(connection: &mut MySqlConnection) -> Result<BTreeMap<String, TableState>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT source_table, last_key, complete, first_run, last_run, copied_rows, newest_key, cut_over_rows,
                cut_over_checksum
         FROM saas_legacy_tables",
    )
    .fetch_all(connection)
    .await?;
    let state = |row: &sqlx::mysql::MySqlRow| {
        let (rows, checksum): (Option<u64>, Option<String>) = (row.try_get(7)?, row.try_get(8)?);
        Ok((
            row.try_get(0)?,
            TableState {
                last_key: row.try_get(1)?,
                complete: row.try_get(2)?,
                first_run: row.try_get(3)?,
                last_run: row.try_get(4)?,
                copied_rows: row.try_get(5)?,
                newest_key: row.try_get(6)?,
                cut_over: rows.zip(checksum),
            },
        ))
    };
    rows.iter().map(state).collect()
}

/// Stores a table's state, except for what the cut-over recorded.
pub async fn store_table(connection: &mut MySqlConnection, table: &str, state: &TableState) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO saas_legacy_tables (source_table, last_key, complete, first_run, last_run, copied_rows, newest_key)
         VALUES (?, ?, ?, ?, ?, ?, ?)
         ON DUPLICATE KEY UPDATE last_key = VALUES(last_key), complete = VALUES(complete),
            first_run = VALUES(first_run), last_run = VALUES(last_run), copied_rows = VALUES(copied_rows),
            newest_key = VALUES(newest_key)",
    )
    .bind(table)
    .bind(&state.last_key)
    .bind(state.complete)
    .bind(state.first_run)
    .bind(state.last_run)
    .bind(state.copied_rows)
    .bind(&state.newest_key)
    .execute(connection)
    .await
    .map(drop)
}

/// Stores what a table of the source held at the cut-over.
pub async fn store_cut_over(
    connection: &mut MySqlConnection,
    table: &str,
    rows: u64,
    checksum: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE saas_legacy_tables SET cut_over_rows = ?, cut_over_checksum = ? WHERE source_table = ?")
        .bind(rows)
        .bind(checksum)
        .bind(table)
        .execute(connection)
        .await
        .map(drop)
}
