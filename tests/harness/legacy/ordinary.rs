//! The values of ordinary rows: plausible by the name of the column, and valid by its type.

use super::columns::{Column, Kind, Table};
use super::literal;
use super::random::{Random, mix};

/// The number of users that rows of other tables may name.
#[derive(Clone, Copy, Debug)]
pub struct World {
    pub users: u64,
}

/// Writes a row as `(1,'a',...)`.
pub fn row(sql: &mut String, table: &Table, world: World, seed: u64, number: u64) {
    row_with(sql, table, world, seed, number, &[]);
}

/// Writes the same row with these literals in these columns.
pub fn row_with(sql: &mut String, table: &Table, world: World, seed: u64, number: u64, given: &[(String, String)]) {
    let mut random = Random::for_row(seed, &table.name, number);
    for (index, column) in table.columns.iter().enumerate() {
        sql.push(if index == 0 { '(' } else { ',' });
        match given.iter().find(|(name, _)| *name == column.name) {
            Some((_, literal)) => sql.push_str(literal),
            None => value(sql, &table.name, column, world, number, &mut random),
        }
    }
    sql.push(')');
}

/// The id of the n-th row. Every hundredth id is missing, as after deletions.
pub fn id(number: u64) -> u64 {
    number + number / 99 + 1
}

/// The id of the n-th user in the form of the legacy system: 32 hexadecimal digits.
pub fn user_id(number: u64) -> String {
    format!("{:016x}{:016x}", mix(number ^ 0xA15_1F0), number)
}

fn value(sql: &mut String, table: &str, column: &Column, world: World, number: u64, random: &mut Random) {
    let name = column.name.as_str();
    if name == "id" {
        return literal::number(sql, id(number));
    }
    if column.nullable && random.below(4) == 0 {
        return sql.push_str("NULL");
    }
    match column.kind {
        Kind::Integer(max) => literal::number(sql, integer(table, name, max, random)),
        Kind::Decimal => {
            let cents = random.below(100_000);
            literal::number(sql, format_args!("{}.{:02}", cents / 100, cents % 100));
        }
        Kind::DateTime | Kind::Timestamp => moment(sql, random),
        Kind::Date => literal::number(
            sql,
            format_args!("'{}-{:02}-{:02}'", 1950 + random.below(60), 1 + random.below(12), 1 + random.below(28)),
        ),
        Kind::Varchar(length) if names_a_user(name) => {
            let user = if table == "user_info" { number } else { random.below(world.users) };
            literal::text(sql, clipped(&user_id(user), length));
        }
        Kind::Varchar(length) if column.unique || is_identifier(name) => {
            // There are few things of each kind, so that several rows name the same one. A unique value contains the
            // number of its row.
            let thing = if column.unique { number } else { random.below(1000) };
            let identifier = format!("{:016x}{thing:016x}", mix(thing ^ name.len() as u64));
            literal::text(sql, clipped(&identifier, length));
        }
        Kind::Varchar(length) => literal::text(sql, clipped(random.pick(&PHRASES), length)),
        Kind::Other => sql.push_str("DEFAULT"),
        Kind::Text(_) => {
            sql.push('\'');
            for _ in 0..1 + random.below(4) {
                sql.push_str(random.pick(&PLAIN));
            }
            sql.push('\'');
        }
    }
}

fn names_a_user(name: &str) -> bool {
    name == "user_id" || name.ends_with("user_bid") || name.ends_with("user_id") || name.ends_with("ated_by")
}

fn is_identifier(name: &str) -> bool {
    name.ends_with("_bid") || name.ends_with("_id") || name == "token"
}

fn integer(table: &str, name: &str, max: i64, random: &mut Random) -> i64 {
    let choices: &[i64] = match (table, name) {
        ("order_orders", "status") => &[501, 502, 502, 502, 503, 504, 505],
        ("learn_progress_records", "status") => &[601, 602, 603, 604, 605, 606, 607, 608],
        ("promo_coupon_usages", "status") => &[901, 902, 903, 904],
        ("learn_generated_blocks", "liked") => &[-1, 0, 1],
        (_, "deleted" | "is_deleted") => &[0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        (_, "status") => &[0, 1],
        _ => return random.below(100).min(max as u64) as i64,
    };
    random.pick(choices)
}

/// A time from 2015 to 2025 and never now, so that a row which an import has touched shows it.
fn moment(sql: &mut String, random: &mut Random) {
    let (year, month, day) = (2015 + random.below(10), 1 + random.below(12), 1 + random.below(28));
    let (hour, minute, second) = (random.below(24), random.below(60), random.below(60));
    literal::number(sql, format_args!("'{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}'"));
}

fn clipped(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or(text, |(end, _)| &text[..end])
}

const PHRASES: [&str; 8] = [
    "",
    "zh-CN",
    "Introduction to prompts",
    "人工智能入门",
    "13800138000",
    "learner@example.com",
    "O'Brien \\ \"quoted\"",
    "https://example.com/a/b.png?x=1&y=2",
];

/// Parts of longer texts that need no escapes.
const PLAIN: [&str; 6] = [
    "A lesson is a list of blocks. ",
    "请用一句话介绍你自己。",
    "{\"type\": \"content\", \"bid\": \"b1\"}",
    "first line\nsecond line\n",
    "- one\n- two\n",
    "Temperature 0.3, model gpt-4o. ",
];
