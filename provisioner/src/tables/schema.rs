//! What tables a database has, as `information_schema` of its server says.

use super::TableError;
use super::column::{Column, Family};
use kernel::database;
use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row};
use std::collections::BTreeMap;

/// A table, view or sequence.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// In the order of the table.
    pub columns: Vec<Column>,
    /// Columns of the primary key.
    pub primary_key: Vec<String>,
    /// Columns of each other unique key.
    pub unique_keys: Vec<Vec<String>>,
    /// The tables that its foreign keys name. `None` is its own database.
    pub refers_to: Vec<(Option<String>, String)>,
    /// `BASE TABLE`, `VIEW`, ...
    pub kind: String,
    pub engine: String,
    /// Rows, as the server estimates.
    pub rows: u64,
    /// Bytes of data and of indexes, as the server estimates.
    pub bytes: u64,
}

impl Table {
    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Whether it is an ordinary table: no view, no sequence, no table with a history.
    pub fn is_base_table(&self) -> bool {
        self.kind == "BASE TABLE"
    }

    /// Whether a snapshot shows it as it was at one moment.
    pub fn has_snapshots(&self) -> bool {
        ["InnoDB", "ROCKSDB"].iter().any(|engine| self.engine.eq_ignore_ascii_case(engine))
    }

    /// The same table as programs saw it that read every text in UTF-8, for the checksums that they have stored.
    pub fn without_charsets(&self) -> Self {
        let columns = self.columns.iter().map(|column| Column { charset: None, ..column.clone() });
        Self { columns: columns.collect(), ..self.clone() }
    }

    /// The columns that an `INSERT` writes: all that the server does not compute itself.
    pub fn written_columns(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| !column.generated)
    }

    /// The column that orders the rows, if the primary key is one column of whole numbers. Chunks and ranges are cut by
    /// it.
    pub fn ordering_key(&self) -> Option<&str> {
        let [key] = self.primary_key.as_slice() else { return None };
        self.column(key).filter(|column| column.family() == Family::Integer).map(|column| column.name.as_str())
    }
}

/// The tables of a database by name.
pub type Tables = BTreeMap<String, Table>;

/// All tables and views of a database that the account may see.
pub async fn read(connection: &mut MySqlConnection, database: &str) -> Result<Tables, TableError> {
    let mut tables = BTreeMap::new();
    let rows = sqlx::query(
        "SELECT TABLE_NAME, TABLE_TYPE, COALESCE(ENGINE, ''), CAST(COALESCE(TABLE_ROWS, 0) AS UNSIGNED),
                CAST(COALESCE(DATA_LENGTH, 0) + COALESCE(INDEX_LENGTH, 0) AS UNSIGNED)
         FROM information_schema.TABLES WHERE TABLE_SCHEMA = ?",
    )
    .bind(database)
    .fetch_all(&mut *connection)
    .await?;
    for row in &rows {
        let text = |column| database::text(row, column);
        let table = Table {
            kind: text(1)?,
            engine: text(2)?,
            rows: row.try_get(3)?,
            bytes: row.try_get(4)?,
            ..Table::default()
        };
        tables.insert(text(0)?, table);
    }
    let rows = sqlx::query(
        "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, EXTRA,
                CAST(CHARACTER_OCTET_LENGTH AS UNSIGNED), CAST(CHARACTER_MAXIMUM_LENGTH AS UNSIGNED),
                CAST(NUMERIC_PRECISION AS UNSIGNED), CAST(NUMERIC_SCALE AS UNSIGNED),
                CAST(DATETIME_PRECISION AS UNSIGNED), COALESCE(CHARACTER_SET_NAME, ''),
                CAST(COALESCE(COLUMN_DEFAULT LIKE '%?%', 0) AS SIGNED)
         FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? ORDER BY TABLE_NAME, ORDINAL_POSITION",
    )
    .bind(database)
    .fetch_all(&mut *connection)
    .await?;
    for row in &rows {
        let column = column(row)?;
        if let Some(table) = tables.get_mut(&database::text(row, 0)?) {
            table.columns.push(column);
        }
    }
    let rows = sqlx::query(
        // A key part of MySQL that is an expression names no column.
        "SELECT TABLE_NAME, INDEX_NAME, COALESCE(COLUMN_NAME, CONCAT('part ', SEQ_IN_INDEX))
         FROM information_schema.STATISTICS
         WHERE TABLE_SCHEMA = ? AND NON_UNIQUE = 0 ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX",
    )
    .bind(database)
    .fetch_all(&mut *connection)
    .await?;
    let mut unique: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for row in &rows {
        let text = |column| database::text(row, column);
        unique.entry((text(0)?, text(1)?)).or_default().push(text(2)?);
    }
    for ((table, index), columns) in unique {
        if let Some(table) = tables.get_mut(&table) {
            match index.as_str() {
                "PRIMARY" => table.primary_key = columns,
                _ => table.unique_keys.push(columns),
            }
        }
    }
    let rows = sqlx::query(
        // MariaDB shows REFERENTIAL_CONSTRAINTS only to an account that may also write.
        "SELECT DISTINCT TABLE_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME
         FROM information_schema.KEY_COLUMN_USAGE
         WHERE TABLE_SCHEMA = ? AND REFERENCED_TABLE_NAME IS NOT NULL ORDER BY 1, 2, 3",
    )
    .bind(database)
    .fetch_all(connection)
    .await?;
    for row in &rows {
        let text = |column| database::text(row, column);
        if let Some(table) = tables.get_mut(&text(0)?) {
            table.refers_to.push((Some(text(1)?).filter(|other| other != database), text(2)?));
        }
    }
    Ok(tables)
}

fn column(row: &MySqlRow) -> Result<Column, TableError> {
    let text = |column| database::text(row, column);
    let number = |column| row.try_get::<Option<u64>, usize>(column);
    let extra = text(5)?.to_ascii_uppercase();
    Ok(Column {
        name: text(1)?,
        data_type: text(2)?.to_ascii_lowercase(),
        column_type: text(3)?,
        nullable: text(4)? == "YES",
        charset: Some(text(11)?).filter(|charset| !charset.is_empty()),
        octets: number(6)?,
        characters: number(7)?,
        precision: number(8)?.map(|digits| Ok::<_, sqlx::Error>((digits, number(9)?.unwrap_or(0)))).transpose()?,
        fraction: number(10)?,
        // MySQL says DEFAULT_GENERATED if a default is an expression, and that column is written.
        generated: extra.contains("VIRTUAL") || extra.contains("STORED") || extra.contains("PERSISTENT"),
        doubtful_default: row.try_get::<i64, _>(12)? != 0,
    })
}
