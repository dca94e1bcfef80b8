//! The tables and columns of a database, as the server describes them.

use anyhow::Result;
use sqlx::MySqlConnection;

#[derive(Clone, Debug)]
pub struct Table {
    pub name: String,
    /// In the order of the table.
    pub columns: Vec<Column>,
}

#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    pub nullable: bool,
    /// Whether no two rows may have the same value.
    pub unique: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A signed integer with this highest value.
    Integer(i64),
    /// Ten digits, two of them after the point.
    Decimal,
    /// At most so many characters.
    Varchar(usize),
    /// At most so many bytes.
    Text(usize),
    DateTime,
    Timestamp,
    Date,
    /// A type that no legacy table has.
    Other,
}

type Described = (String, String, String, Option<u64>, String, String);

/// Every table of a database, in the order of the names.
pub async fn of(connection: &mut MySqlConnection, database: &str) -> Result<Vec<Table>> {
    // MySQL declares some of these as bytes; MariaDB does not.
    let text = |column: &str| format!("CONVERT({column} USING utf8mb4)");
    let [table, column, kind, nullable, key] =
        ["TABLE_NAME", "COLUMN_NAME", "DATA_TYPE", "IS_NULLABLE", "COLUMN_KEY"].map(text);
    let query = format!(
        "SELECT {table}, {column}, {kind}, CAST(CHARACTER_MAXIMUM_LENGTH AS UNSIGNED), {nullable}, {key}
         FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? ORDER BY TABLE_NAME, ORDINAL_POSITION"
    );
    let rows: Vec<Described> = sqlx::query_as(&query).bind(database).fetch_all(connection).await?;
    let mut tables: Vec<Table> = Vec::new();
    for (table, name, kind, length, nullable, key) in rows {
        if tables.last().is_none_or(|last| last.name != table) {
            tables.push(Table { name: table, columns: Vec::new() });
        }
        let kind = kind_of(&kind, length)?;
        let column = Column { name, kind, nullable: nullable == "YES", unique: key == "UNI" || key == "PRI" };
        tables.last_mut().into_iter().for_each(|table| table.columns.push(column.clone()));
    }
    Ok(tables)
}

fn kind_of(data_type: &str, length: Option<u64>) -> Result<Kind> {
    let length = usize::try_from(length.unwrap_or(0))?;
    Ok(match data_type {
        "tinyint" => Kind::Integer(i64::from(i8::MAX)),
        "smallint" => Kind::Integer(i64::from(i16::MAX)),
        "int" => Kind::Integer(i64::from(i32::MAX)),
        "bigint" => Kind::Integer(i64::MAX),
        "decimal" => Kind::Decimal,
        "varchar" => Kind::Varchar(length),
        "text" | "longtext" => Kind::Text(length),
        "datetime" => Kind::DateTime,
        "timestamp" => Kind::Timestamp,
        "date" => Kind::Date,
        _ => Kind::Other,
    })
}
