//! What tables a database has, as its server tells (`information_schema`).

use super::LegacyError;
use kernel::database;
use kernel::database::sql::{self, Form};
use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row};
use std::collections::BTreeMap;

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// `varchar`, `bigint`, ...
    pub data_type: String,
    /// `varchar(36)`, `bigint(20) unsigned`, ...
    pub column_type: String,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// Most bytes of text or binary data.
    pub octets: Option<u64>,
    /// Most characters of text.
    pub characters: Option<u64>,
    /// Digits of a number, and digits of it behind the point.
    pub precision: Option<(u64, u64)>,
    /// Digits of a time's fraction.
    pub fraction: Option<u64>,
    /// Computed by the server from other columns; never written.
    pub generated: bool,
}

/// A table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// In their order.
    pub columns: Vec<Column>,
    /// Columns of the primary key.
    pub primary_key: Vec<String>,
    /// Columns of each other unique key.
    pub unique_keys: Vec<Vec<String>>,
    /// `BASE TABLE`, `VIEW`, ...
    pub kind: String,
    /// Storage engine.
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
}

/// All tables and views of a database that the account may see.
pub async fn read(connection: &mut MySqlConnection, database: &str) -> Result<BTreeMap<String, Table>, LegacyError> {
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
                CAST(DATETIME_PRECISION AS UNSIGNED)
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
        "SELECT TABLE_NAME, INDEX_NAME, COLUMN_NAME FROM information_schema.STATISTICS
         WHERE TABLE_SCHEMA = ? AND NON_UNIQUE = 0 ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX",
    )
    .bind(database)
    .fetch_all(connection)
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
    Ok(tables)
}

fn column(row: &MySqlRow) -> Result<Column, LegacyError> {
    let text = |column| database::text(row, column);
    let number = |column| row.try_get::<Option<u64>, usize>(column);
    let extra = text(5)?.to_ascii_uppercase();
    Ok(Column {
        name: text(1)?,
        data_type: text(2)?.to_ascii_lowercase(),
        column_type: text(3)?,
        nullable: text(4)? == "YES",
        octets: number(6)?,
        characters: number(7)?,
        precision: number(8)?.map(|digits| Ok::<_, sqlx::Error>((digits, number(9)?.unwrap_or(0)))).transpose()?,
        fraction: number(10)?,
        // MySQL also says DEFAULT_GENERATED, of a default that is an expression.
        generated: extra.contains("VIRTUAL") || extra.contains("STORED") || extra.contains("PERSISTENT"),
    })
}

/// Kinds of values that are treated alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Whole numbers.
    Integer,
    /// Exact numbers with a point.
    Decimal,
    /// Numbers of limited precision.
    Float,
    /// Text of any length.
    Text,
    /// Bytes of any length.
    Bytes,
    /// Bits.
    Bits,
    /// Everything that keeps its exact type: times, enumerations, JSON, ...
    Other,
}

impl Column {
    /// Its family.
    pub fn family(&self) -> Family {
        match self.data_type.as_str() {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => Family::Integer,
            "decimal" => Family::Decimal,
            "float" | "double" => Family::Float,
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => Family::Text,
            "bit" => Family::Bits,
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Family::Bytes,
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
            | "geometrycollection" | "vector" => Family::Bytes,
            _ => Family::Other,
        }
    }

    /// Whether it holds a date or a time of day on a date, which may be the impossible date of zeros.
    pub fn is_date(&self) -> bool {
        matches!(self.data_type.as_str(), "date" | "datetime" | "timestamp")
    }

    /// How its values stand in a statement.
    pub fn form(&self) -> Form {
        match self.family() {
            Family::Integer | Family::Decimal | Family::Float | Family::Bits => Form::Number,
            Family::Text | Family::Other => Form::Text,
            Family::Bytes => Form::Bytes,
        }
    }

    /// Expression that reads it without loss.
    pub fn exact(&self) -> Result<String, LegacyError> {
        let name = sql::identifier(&self.name)?;
        Ok(match self.family() {
            // A FLOAT shows six digits and has more.
            Family::Float => format!("CAST({name} AS DOUBLE)"),
            Family::Bits => format!("CAST({name} AS UNSIGNED)"),
            _ => name.to_string(),
        })
    }

    fn rank(&self) -> u8 {
        ["tinyint", "smallint", "mediumint", "int", "bigint"]
            .iter()
            .position(|name| *name == self.data_type)
            .map_or(0, |rank| rank as u8)
    }

    /// Whether every value of `self` fits into `target` and stays what it is.
    pub fn fit(&self, target: &Self) -> Fit {
        let (family, to) = (self.family(), target.family());
        let unsigned = |column: &Self| column.column_type.contains("unsigned");
        let fits = match (family, to) {
            (Family::Integer, Family::Integer) if unsigned(self) == unsigned(target) => self.rank() <= target.rank(),
            (Family::Decimal, Family::Decimal) => match (self.precision, target.precision) {
                (Some((digits, scale)), Some((room, target_scale))) if scale == target_scale => digits <= room,
                _ => return Fit::Never,
            },
            (Family::Text, Family::Text) => {
                let long = |column: &Self| column.data_type.ends_with("text");
                match (long(self), long(target)) {
                    (false, false) => self.characters <= target.characters,
                    // TEXT is limited in bytes, of which a character may have four.
                    (false, true) => self.characters.unwrap_or(0) * 4 <= target.octets.unwrap_or(0),
                    (true, _) => long(target) && self.octets <= target.octets,
                }
            }
            (Family::Bytes, Family::Bytes) if self.data_type == target.data_type => self.octets <= target.octets,
            (Family::Other | Family::Float | Family::Bits, _) if self.data_type == target.data_type => {
                match self.fraction <= target.fraction {
                    true if self.fraction == target.fraction => {
                        self.column_type == target.column_type || self.is_date()
                    }
                    true => return Fit::Never,
                    false => false,
                }
            }
            _ => return Fit::Never,
        };
        if fits { Fit::Yes } else { Fit::Widened }
    }
}

/// See [`Column::fit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It does.
    Yes,
    /// Once the target has the source's type.
    Widened,
    /// They are different things.
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(column_type: &str, octets: u64, characters: u64) -> Column {
        Column {
            name: "c".into(),
            data_type: column_type.split('(').next().unwrap().into(),
            column_type: column_type.into(),
            nullable: false,
            octets: Some(octets),
            characters: Some(characters),
            precision: Some((10, 2)),
            fraction: Some(0),
            generated: false,
        }
    }

    #[test]
    fn nothing_is_cut() {
        let text = column("text", 65535, 65535);
        let long = column("longtext", u64::from(u32::MAX), u64::from(u32::MAX));
        let short = column("varchar(36)", 144, 36);
        assert_eq!(long.fit(&text), Fit::Widened);
        assert_eq!(text.fit(&long), Fit::Yes);
        assert_eq!(short.fit(&column("varchar(32)", 128, 32)), Fit::Widened);
        assert_eq!(short.fit(&text), Fit::Yes);
        assert_eq!(text.fit(&short), Fit::Widened);
        assert_eq!(column("int(11)", 0, 0).fit(&column("smallint(6)", 0, 0)), Fit::Widened);
        assert_eq!(column("smallint(6)", 0, 0).fit(&column("int(11)", 0, 0)), Fit::Yes);
        assert_eq!(column("int(11) unsigned", 0, 0).fit(&column("bigint(20)", 0, 0)), Fit::Never);
        assert_eq!(column("datetime", 0, 0).fit(&column("timestamp", 0, 0)), Fit::Never);
        assert_eq!(text.fit(&column("int(11)", 0, 0)), Fit::Never);
        let precise = Column { fraction: Some(6), ..column("datetime(6)", 0, 0) };
        assert_eq!(precise.fit(&column("datetime", 0, 0)), Fit::Widened);
        assert_eq!(column("datetime", 0, 0).fit(&precise), Fit::Never);
        assert_eq!(column("decimal(10,2)", 0, 0).fit(&column("decimal(10,2)", 0, 0)), Fit::Yes);
    }
}
