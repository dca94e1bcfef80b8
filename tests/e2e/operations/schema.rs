//! The tables are those of the design, column by column. The lists in `golden/` come from the design document and not
//! from our migrations.

use crate::world;
use anyhow::Result;
use harness::stack::{Stack, new_encryption_key};
use kernel::crypto::{KeyRing, Purpose};
use kernel::domain::{LONGEST_NAME, MAX_VALUE};
use secrecy::SecretString;
use sqlx::MySqlConnection;
use std::collections::{BTreeMap, BTreeSet};

const TENANT_COLUMNS: &str = include_str!("golden/tenant_columns.tsv");
const SYSTEM_COLUMNS: &str = include_str!("golden/system_columns.tsv");
const TENANT_INDEXES: &str = include_str!("golden/tenant_indexes.tsv");

/// Our own indexes, for queries that the design does not have.
const OWN_INDEXES: [&str; 2] = ["idx_list", "idx_user_list"];

#[tokio::test]
async fn the_tables_are_those_of_the_design() -> Result<()> {
    let stack = Stack::start(world::without_nodes("schema")?).await?;
    let mut root = world::root(&stack).await?;

    let golden: BTreeSet<&str> = TENANT_COLUMNS.lines().collect();
    let found = columns(&mut root, "ai_shifu_tenant_default", None).await?;
    assert_same(&golden, &found);
    let tables: BTreeSet<_> = golden.iter().filter_map(|line| line.split('\t').next()).collect();
    assert_eq!(tables.len(), 21);

    let golden: BTreeSet<&str> = SYSTEM_COLUMNS.lines().collect();
    let tables: BTreeSet<_> = golden.iter().filter_map(|line| line.split('\t').next()).collect();
    assert_eq!(tables.len(), 9);
    assert_same(&golden, &columns(&mut root, "ai_shifu_system", Some(&tables)).await?);

    let golden: BTreeSet<&str> = TENANT_INDEXES.lines().collect();
    let rows: Vec<(String, String, i64, String)> = sqlx::query_as(
        "SELECT CONVERT(TABLE_NAME USING utf8mb4), CONVERT(INDEX_NAME USING utf8mb4), CAST(MIN(NON_UNIQUE = 0) AS SIGNED),
                CONVERT(GROUP_CONCAT(COLUMN_NAME ORDER BY SEQ_IN_INDEX) USING utf8mb4)
         FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = 'ai_shifu_tenant_default' AND INDEX_NAME <> 'PRIMARY'
         GROUP BY TABLE_NAME, INDEX_NAME",
    )
    .fetch_all(&mut root)
    .await?;
    let found = rows
        .into_iter()
        .filter(|(_, index, ..)| !OWN_INDEXES.contains(&index.as_str()))
        .map(|(table, index, unique, columns)| format!("{table}\t{index}\t{unique}\t{columns}"))
        .collect();
    assert_same(&golden, &found);
    columns_hold_the_longest_values(&mut root).await
}

/// The longest values that the API, the settings and the services accept: characters of a short text, bytes of a long
/// one, by the name of the column. Every table with such a column must hold them.
fn longest() -> Result<BTreeMap<&'static str, u64>> {
    let key = SecretString::from(new_encryption_key("k1"));
    let purpose = Purpose::TenantSetting { tenant_id: &"t".repeat(32), key: &"k".repeat(100) };
    let sealed = KeyRing::parse(&key)?.seal(purpose, &[b'x'; MAX_VALUE])?;
    Ok(BTreeMap::from([
        ("tenant_id", 32),
        ("source_tenant_id", 32),
        ("tenant_name", LONGEST_NAME as u64),
        ("tenant_domain", 100),
        ("domain", 100),
        ("value", 100),
        ("plan_type", 50),
        ("user_id", 36),
        ("username", 255),
        ("email", 255),
        ("mobile", 20),
        ("user_language", 30),
        ("role", 6),
        ("permissions", 8192),
        ("config_key", 100),
        ("config_value", MAX_VALUE as u64),
        ("sealed_value", sealed.len() as u64),
        ("description", 200),
        ("idempotency_key", 255),
        // The answer to a request with a key may be as long as a tenant with many domains.
        ("response_sealed", 1 << 20),
        ("server_id", 32),
        ("moving_to", 32),
        ("host", 200),
        ("db_host", 200),
        ("database_host", 200),
        ("db_name", 48),
        ("database_name", 48),
        ("node_name", 100),
        ("challenge", 32),
        ("traceparent", 55),
        ("scopes", "admin read".len() as u64),
    ]))
}

/// Columns whose values only programs make: ids, words, hashes, sealed and cut texts. Those of the design that nothing
/// writes yet stand here too.
const MADE_BY_PROGRAMS: [&str; 73] = [
    "account_host",
    "actor",
    "address",
    "audit_id",
    "backup_id",
    "busy_tenant",
    "checksum",
    "collection_id",
    "config_type",
    "conversion_id",
    "conversion_source",
    "conversion_third_platform",
    "conversion_uuid",
    "cut_over_checksum",
    "data",
    "db_password_encrypted",
    "db_type",
    "db_username",
    "detail",
    "dialect",
    "error",
    "event_id",
    "event_type",
    "extra_data",
    "figures",
    "generation",
    "hash",
    "head",
    "ip_address",
    "key_id",
    "kind",
    "lane",
    "last_key",
    "location",
    "mail",
    "method",
    "newest_key",
    "next_checksum",
    "node_id",
    "operation_id",
    "outcome",
    "owner",
    "path",
    "phone",
    "reason",
    "report",
    "request_hash",
    "request_id",
    "requested_by",
    "restored",
    "run_id",
    "schedule",
    "secret_hash",
    "server_version",
    "snapshot",
    "source",
    "source_table",
    "state",
    "status",
    "subject",
    "test_error",
    "to_key",
    "token",
    "token_id",
    "unmapped",
    "user_agent",
    "user_avatar",
    "user_ip",
    "user_key",
    "user_open_id",
    "user_unicon_id",
    "verify_code",
    "written_checksum",
];

async fn columns_hold_the_longest_values(root: &mut MySqlConnection) -> Result<()> {
    let longest = longest()?;
    let rows: Vec<(String, String, String, u64)> = sqlx::query_as(
        "SELECT CONVERT(TABLE_NAME USING utf8mb4), CONVERT(COLUMN_NAME USING utf8mb4),
                CONVERT(DATA_TYPE USING utf8mb4), CAST(CHARACTER_MAXIMUM_LENGTH AS UNSIGNED)
         FROM information_schema.COLUMNS
         WHERE TABLE_SCHEMA = 'ai_shifu_system' AND CHARACTER_MAXIMUM_LENGTH IS NOT NULL",
    )
    .fetch_all(root)
    .await?;
    let (mut found, mut unnamed) = (BTreeSet::new(), Vec::new());
    for (table, column, kind, room) in &rows {
        // The names of users and of tokens have the same column.
        let name = match table.as_str() {
            "user_info" => 255,
            "saas_admin_tokens" => 100,
            _ => 0,
        };
        let needed = if column == "name" { Some(&name) } else { longest.get(column.as_str()) };
        if let Some(needed) = needed {
            assert!(room >= needed, "{table}.{column} ({kind}) holds {room}, and values have up to {needed}");
            found.insert(column.as_str());
        } else if !MADE_BY_PROGRAMS.contains(&column.as_str()) {
            unnamed.push(format!("{table}.{column}"));
        }
    }
    assert!(unnamed.is_empty(), "name the longest values, or that only programs write them: {unnamed:?}");
    let unknown: Vec<_> = longest.keys().filter(|column| !found.contains(*column)).collect();
    assert!(unknown.is_empty(), "no table has these columns: {unknown:?}");
    Ok(())
}

async fn columns(root: &mut MySqlConnection, schema: &str, only: Option<&BTreeSet<&str>>) -> Result<BTreeSet<String>> {
    type Column = (String, u64, String, String, String, Option<String>, String);
    let rows: Vec<Column> = sqlx::query_as(
        "SELECT CONVERT(TABLE_NAME USING utf8mb4), CAST(ORDINAL_POSITION AS UNSIGNED), CONVERT(COLUMN_NAME USING utf8mb4),
                CONVERT(COLUMN_TYPE USING utf8mb4), CONVERT(IS_NULLABLE USING utf8mb4),
                CONVERT(COLUMN_DEFAULT USING utf8mb4), CONVERT(COLUMN_COMMENT USING utf8mb4)
         FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME <> '_ownership'",
    )
    .bind(schema)
    .fetch_all(root)
    .await?;
    Ok(rows
        .into_iter()
        .filter(|(table, ..)| only.is_none_or(|only| only.contains(table.as_str())))
        .map(|(table, ordinal, column, kind, nullable, default, comment)| {
            let default = default.map_or_else(|| "NULL".into(), |text| text.trim_matches('\'').to_owned());
            // The spelling of an expression as a default in MySQL.
            let default = if default == r"_utf8mb4\'\" { String::new() } else { default };
            let default = if default == "current_timestamp()" { "CURRENT_TIMESTAMP".into() } else { default };
            format!("{table}\t{ordinal}\t{column}\t{kind}\t{nullable}\t{default}\t{comment}")
        })
        .collect())
}

fn assert_same(golden: &BTreeSet<&str>, found: &BTreeSet<String>) {
    let golden: BTreeSet<String> = golden.iter().map(|line| common(line)).collect();
    let found: BTreeSet<String> = found.iter().map(|line| common(line)).collect();
    let missing: Vec<_> = golden.difference(&found).collect();
    let extra: Vec<_> = found.difference(&golden).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing: {missing:#?}\nextra: {extra:#?}");
}

/// MariaDB shows integers with a display width, which has no effect; MySQL no longer does. MariaDB stores JSON as text
/// with a check.
fn common(line: &str) -> String {
    let mut fields: Vec<String> = line.split('\t').map(str::to_owned).collect();
    for field in &mut fields {
        if field == "json" {
            *field = "longtext".to_owned();
        }
        if let Some((kind, width)) = field.split_once("int(")
            && width.trim_end_matches(" unsigned").trim_end_matches(')').parse::<u8>().is_ok()
        {
            *field = format!("{kind}int{}", if width.ends_with("unsigned") { " unsigned" } else { "" });
        }
    }
    fields.join("\t")
}
