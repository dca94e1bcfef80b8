//! Rows that break careless migrators. Each names what it is an example of.
//!
//! Their ids come after a large gap, which exposes a migrator that counts ids instead of reading them.

use anyhow::{Context, Result};
use sqlx::Connection;

use super::columns::{self, Kind, Table};
use super::ordinary::{self, World};
use super::{literal, schema};

/// The first id of the odd rows.
const FIRST_ID: i64 = 20_000_000_000;
/// The largest size that a course's struct was seen to have.
pub const LARGE_STRUCT: usize = 200_000;

/// One odd row: an ordinary row except for these columns.
pub struct Row {
    pub oddity: &'static str,
    pub table: &'static str,
    /// The names of the columns and the SQL literals.
    pub columns: Vec<(String, String)>,
}

/// Inserts all odd rows into a filled database. The same seed gives the same rows.
pub async fn plant(root_url: &str, database: &str, seed: u64) -> Result<Vec<Row>> {
    let mut connection = schema::connect(root_url, database).await?;
    let tables = columns::of(&mut connection, database).await?;
    let rows = all(&tables);
    for (number, row) in (0..).zip(&rows) {
        let table = tables.iter().find(|table| table.name == row.table);
        let table = table.with_context(|| format!("no table {}", row.table))?;
        let mut given = row.columns.clone();
        if !given.iter().any(|(name, _)| name == "id") {
            given.push(("id".to_owned(), (FIRST_ID + number).to_string()));
        }
        let mut sql = format!("INSERT INTO `{}` VALUES ", row.table);
        // A number far above those of the ordinary rows. The unique values come from it.
        ordinary::row_with(&mut sql, table, World { users: 10 }, seed, 1 << 40 | number as u64, &given);
        let planted = sqlx::raw_sql(&sql).execute(&mut connection).await;
        planted.with_context(|| format!("plant {} into {}", row.oddity, row.table))?;
    }
    connection.close().await?;
    Ok(rows)
}

/// Texts that each differ from another one only in what databases like to ignore.
const TEXTS: [(&str, &str); 14] = [
    ("nothing", ""),
    ("one blank", " "),
    ("trailing blanks", "x   "),
    ("leading blank and tab", " \tx"),
    ("quotes and backslashes", "'\"\\'\\\\ \\0 \\n %s {} ;-- /*"),
    ("line ends", "a\nb\r\nc\rd\u{2028}e"),
    ("NUL", "a\0b\0"),
    ("control characters", "\u{1}\u{1a}\u{7f}\u{85}"),
    ("NFC", "\u{e9}\u{fc}"),
    ("NFD", "e\u{301}u\u{308}"),
    ("four bytes", "😀𠀋👩‍👩‍👧‍👦"),
    ("right to left", "\u{202e}abc\u{200f}"),
    ("byte order mark", "\u{feff}x"),
    ("replacement character", "\u{fffd}"),
];

fn all(tables: &[Table]) -> Vec<Row> {
    let mut rows = users();
    rows.extend(orphans());
    rows.extend(times(tables));
    rows.extend(numbers(tables));
    rows.extend(texts());
    rows.extend(sizes(tables));
    rows
}

/// User ids that are empty, or equal to another one by a collation that ignores case, accents and trailing blanks.
fn users() -> Vec<Row> {
    let known = ordinary::user_id(0);
    let upper = known.to_uppercase();
    let twins = ["Zoé", "ZOE", "zoe\u{301}", "zoe", "zoe "].map(str::to_owned);
    let user = |oddity, user_id: &str| row(oddity, "user_info", [("user_id", quoted(user_id))]);
    let mut rows: Vec<Row> = (0..3).map(|_| user("empty user id", "")).collect();
    rows.push(user("blank user id", " "));
    rows.push(user("duplicate user id", &known));
    rows.push(user("duplicate user id", &known));
    rows.push(user("twin in capitals", &upper));
    rows.extend(twins.iter().map(|twin| user("twins to the collation", twin)));
    // A user who remembers the id in capitals logs in with it.
    rows.push(row("token of a twin", "user_token", [("user_id", quoted(&upper))]));
    rows.push(row("token without expiry", "user_token", [("token_expired_at", "NULL".to_owned())]));
    rows
}

/// Rows that name users who do not exist. Legacy tables have no foreign keys.
fn orphans() -> Vec<Row> {
    let unknown = quoted(&"f".repeat(32));
    vec![
        row("order of an unknown user", "order_orders", [("user_bid", unknown.clone())]),
        row("order of an unknown user", "order_pingxx_orders", [("user_bid", unknown.clone())]),
        row("order without user", "order_orders", [("user_bid", quoted(""))]),
        row("progress of an unknown user", "learn_progress_records", [("user_bid", unknown.clone())]),
        row("token of an unknown user", "user_token", [("user_id", unknown)]),
    ]
}

/// The ends of each type's range, zero dates, and hours that a wall clock skipped or showed twice.
fn times(tables: &[Table]) -> Vec<Row> {
    let datetimes = [
        ("zero date", "0000-00-00 00:00:00"),
        ("first DATETIME", "1000-01-01 00:00:00"),
        ("last DATETIME", "9999-12-31 23:59:59"),
        ("hour skipped in Berlin", "2025-03-30 02:30:00"),
        ("hour skipped in New York", "2025-03-09 02:30:00"),
        ("hour skipped in Shanghai", "1991-04-14 02:30:00"),
    ];
    let timestamps = [
        ("zero date", "0000-00-00 00:00:00"),
        ("first TIMESTAMP", "1970-01-01 00:00:01"),
        ("last TIMESTAMP", "2038-01-19 03:14:07"),
        ("hour shown twice in Berlin, first", "2025-10-26 00:30:00"),
        ("hour shown twice in Berlin, second", "2025-10-26 01:30:00"),
        ("hour shown twice in Shanghai", "1991-09-14 16:30:00"),
    ];
    let mut rows = Vec::new();
    for (oddity, value) in datetimes {
        let value = quoted(value);
        rows.push(row(
            oddity,
            "order_pingxx_orders",
            ["paid_at", "refunded_at", "created_at", "updated_at"].map(|column| (column, value.clone())),
        ));
        rows.push(row(oddity, "order_orders", ["created_at", "updated_at"].map(|column| (column, value.clone()))));
    }
    for (oddity, value) in timestamps {
        let value = quoted(value);
        rows.push(row(oddity, "user_info", ["created", "updated"].map(|column| (column, value.clone()))));
        // The only column that the old system itself updates with every change.
        rows.push(row(oddity, "active", [("updated", value.clone())]));
        rows.push(row(oddity, "user_token", ["token_expired_at", "created"].map(|column| (column, value.clone()))));
    }
    for (oddity, value) in [("zero date", "0000-00-00"), ("date without a day", "1985-06-00")] {
        rows.push(row(oddity, "user_info", [("user_birth", quoted(value))]));
    }
    rows.retain(|row| tables.iter().any(|table| table.name == row.table));
    rows
}

/// Ids that no floating-point number represents, and the ends of every number's range.
fn numbers(tables: &[Table]) -> Vec<Row> {
    let with_id = |table, id: i64| row("odd id", table, [("id", id.to_string())]);
    let above = (1 << 53) + 1;
    let mut rows: Vec<Row> = ["user_info", "order_orders", "learn_generated_blocks", "resource"]
        .into_iter()
        .map(|table| with_id(table, above))
        .collect();
    // The application no longer writes to these tables. After the last id there is no next one.
    rows.push(with_id("select_question", i64::MAX));
    for id in [0, -1, i64::MIN] {
        rows.push(with_id("resource_usage", id));
    }
    rows.push(with_id("scenario_favorite", 0));
    rows.push(with_id("scenario_favorite", -7));
    for table in tables {
        let Some(table_name) = NAMES.iter().find(|name| **name == table.name) else { continue };
        for low in [false, true] {
            let columns = table.columns.iter().filter(|column| column.name != "id");
            let ends = columns.filter_map(|column| match column.kind {
                Kind::Integer(max) => Some((column.name.as_str(), if low { -max - 1 } else { max }.to_string())),
                Kind::Decimal => Some((column.name.as_str(), format!("{}99999999.99", if low { "-" } else { "" }))),
                _ => None,
            });
            rows.push(row("end of a number's range", table_name, ends));
        }
    }
    rows
}

/// The tables whose numbers get the ends of their ranges.
const NAMES: [&str; 4] = ["order_orders", "promo_coupons", "user_info", "ai_course"];

fn texts() -> Vec<Row> {
    let mut rows = Vec::new();
    for (oddity, text) in TEXTS {
        let text = quoted(text);
        rows.push(row(oddity, "user_info", ["username", "name", "extra_data"].map(|column| (column, text.clone()))));
        rows.push(row(
            oddity,
            "order_pingxx_orders",
            ["subject", "body", "extra"].map(|column| (column, text.clone())),
        ));
        rows.push(row(oddity, "risk_control_result", ["text", "check_resp"].map(|column| (column, text.clone()))));
    }
    rows
}

/// Texts as long as their columns allow.
fn sizes(tables: &[Table]) -> Vec<Row> {
    let wide = quoted(&"𠀋".repeat(255));
    let mut rows = vec![row("255 characters of four bytes", "user_info", [("username", wide.clone()), ("name", wide)])];
    for name in ["shifu_log_draft_structs", "shifu_log_published_structs"] {
        let columns = tables.iter().filter(|table| table.name == name).flat_map(|table| &table.columns);
        let limit = columns.filter(|column| column.name == "struct").find_map(|column| match column.kind {
            Kind::Text(bytes) => Some(bytes),
            _ => None,
        });
        let size = limit.unwrap_or(0).min(LARGE_STRUCT);
        rows.push(row("large struct", name, [("struct", quoted(&"结构{}".repeat(size / 8)))]));
    }
    rows
}

fn row<'c>(oddity: &'static str, table: &'static str, columns: impl IntoIterator<Item = (&'c str, String)>) -> Row {
    let columns = columns.into_iter().map(|(name, literal)| (name.to_owned(), literal)).collect();
    Row { oddity, table, columns }
}

fn quoted(text: &str) -> String {
    let mut sql = String::new();
    literal::text(&mut sql, text);
    sql
}
