//! The tables of the new schema as the migrations define them, for a plan that has no destination to ask.
//!
//! The migrations write one column a line. A test compares what is read here with what a server says.

use super::mapping::TargetDatabase;
use crate::tables::column::Column;
use crate::tables::schema::Table;
use kernel::database::migrate;
use sqlx::migrate::Migration;
use std::collections::BTreeMap;

/// The tables of one of the two databases.
pub fn tables(target: TargetDatabase) -> BTreeMap<String, Table> {
    let migrations: &[Migration] = match target {
        TargetDatabase::System => &migrate::SYSTEM.migrations,
        TargetDatabase::Tenant => migrate::tenant(),
    };
    let mut tables: BTreeMap<String, Table> = BTreeMap::new();
    let mut open: Option<String> = None;
    for line in migrations.iter().flat_map(|migration| migration.sql.lines()) {
        if let Some(rest) = line.strip_prefix("CREATE TABLE IF NOT EXISTS ") {
            let name = rest.split([' ', '(']).next().unwrap_or_default().trim_matches('`').to_owned();
            tables
                .insert(name.clone(), Table { kind: "BASE TABLE".into(), engine: "InnoDB".into(), ..Table::default() });
            open = Some(name);
        } else if line.starts_with(')') {
            open = None;
        } else if let Some(table) = open.as_ref().and_then(|name| tables.get_mut(name)) {
            read_line(table, line.trim());
        }
    }
    tables
}

fn read_line(table: &mut Table, line: &str) {
    let mut words = line.split_whitespace();
    let (Some(name), Some(kind)) = (words.next(), words.next()) else { return };
    if matches!(name, "--" | "INDEX" | "UNIQUE" | "PRIMARY" | "KEY") {
        return;
    }
    let name = name.trim_matches('`').to_owned();
    let upper = line.to_ascii_uppercase();
    if upper.contains(" UNIQUE") {
        table.unique_keys.push(vec![name.clone()]);
    }
    if upper.contains("PRIMARY KEY") {
        table.primary_key = vec![name.clone()];
    }
    table.columns.push(column(name, kind, !upper.contains("NOT NULL") && !upper.contains("PRIMARY KEY")));
}

fn column(name: String, kind: &str, nullable: bool) -> Column {
    let lower = kind.trim_end_matches(',').to_ascii_lowercase();
    let (word, arguments) = lower.split_once('(').map_or((lower.as_str(), ""), |(w, a)| (w, a.trim_end_matches(')')));
    let mut numbers = arguments.split(',').map_while(|number| number.trim().parse::<u64>().ok());
    let (first, second) = (numbers.next(), numbers.next());
    let data_type = match word {
        "integer" => "int",
        "boolean" => "tinyint",
        other => other,
    };
    let text = |octets| (Some(octets), Some(octets));
    let (octets, characters) = match data_type {
        "varchar" | "char" => (first.map(|length| length * 4), first),
        "text" => text(65_535),
        "mediumtext" => text(16_777_215),
        "longtext" => text(u64::from(u32::MAX)),
        _ => (None, None),
    };
    Column {
        name,
        data_type: data_type.to_owned(),
        column_type: lower.clone(),
        nullable,
        charset: None,
        octets,
        characters,
        precision: (data_type == "decimal").then_some((first.unwrap_or(10), second.unwrap_or(0))),
        fraction: match data_type {
            "datetime" | "timestamp" => Some(first.unwrap_or(0)),
            _ => None,
        },
        generated: false,
        doubtful_default: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::legacy::mapping::MAPPED;

    #[test]
    fn the_new_schema_has_every_mapped_table_and_renamed_column() {
        let (system, tenant) = (tables(TargetDatabase::System), tables(TargetDatabase::Tenant));
        for mapped in &MAPPED {
            let there = if mapped.target == TargetDatabase::System { &system } else { &tenant };
            let table = there.get(mapped.table).unwrap_or_else(|| panic!("{} is not in the new schema", mapped.table));
            assert_eq!(table.primary_key, ["id"], "{}", mapped.table);
            let names = mapped.renamed.iter().map(|(_, new)| *new).chain(mapped.user.map(|user| mapped.new_name(user)));
            for name in names {
                assert!(table.column(name).is_some(), "{}.{name}", mapped.table);
            }
            for (name, _) in mapped.back {
                assert!(table.column(name).is_some_and(|column| column.nullable), "{}.{name}", mapped.table);
            }
        }
    }

    #[test]
    fn types_and_keys_are_read_from_migrations() {
        let tables = tables(TargetDatabase::Tenant);
        let order = &tables["order_orders"];
        assert_eq!(order.columns.len(), 10);
        assert_eq!(order.column("payable_price").unwrap().precision, Some((10, 2)));
        assert_eq!(order.column("user_id").unwrap().characters, Some(36));
        assert_eq!(tables["shifu_log_draft_structs"].unique_keys, [["struct_bid"]]);
        assert!(tables["shifu_log_draft_structs"].column("struct").is_some());
    }
}
