//! From two schemas and the mapping to routes: for each table of the source, where each of its columns goes.
//!
//! Whatever does not fit is found here, before anything is touched: a column the new schema does not have, a type that
//! would change a value, a table that is missing.

use super::generation::Generation;
use super::mapping::{self, Mapped, Place};
use crate::tables::column::{Column, Family, Fit};
use crate::tables::schema::{Table, Tables};
use clap::ValueEnum;
use serde::Serialize;
use std::collections::BTreeSet;

/// What becomes of tables that the new schema does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Unmapped {
    /// They are made in the tenant's database as they are, with their rows.
    #[default]
    Carry,
    /// They stay where they are, and the plan lists them.
    Leave,
}

impl Unmapped {
    /// The word on the command line and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Carry => "carry",
            Self::Leave => "leave",
        }
    }
}

/// One column's way.
#[derive(Clone, Debug)]
pub struct RouteColumn {
    /// Name in the source.
    pub from: String,
    /// Name in the destination.
    pub to: String,
    /// What it is in the source.
    pub column: Column,
}

/// One table's way.
#[derive(Clone, Debug)]
pub struct Route {
    /// Name of the table, the same on both sides.
    pub table: String,
    /// Where it goes.
    pub place: Place,
    /// Its line of the mapping; `None`: carried as it is.
    pub mapped: Option<&'static Mapped>,
    /// Columns that are copied.
    pub columns: Vec<RouteColumn>,
    /// The column whose whole numbers order the rows, if the primary key is such a one: what chunks are cut by.
    pub key: Option<String>,
    /// Whether the destination has another unique key, so that the server must check it.
    pub unique: bool,
    /// Whether a snapshot of it can be read.
    pub transactional: bool,
    /// Rows in the source, as its server estimates.
    pub rows: u64,
    /// Bytes in the source, as its server estimates.
    pub bytes: u64,
}

/// What the destination must be given before rows can come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "change")]
pub enum Change {
    /// The table is made as the source has it.
    Create {
        /// Its name.
        table: String,
    },
    /// The column is added.
    Add {
        /// Of which table.
        table: String,
        /// Its name.
        column: String,
        /// Its type, and whether it may be NULL.
        definition: String,
    },
    /// The column gets the source's type, which is wider.
    Widen {
        /// Of which table.
        table: String,
        /// Its name.
        column: String,
        /// Type it gets.
        column_type: String,
    },
}

/// Everything that follows from the schemas.
#[derive(Debug)]
pub struct Routing {
    /// Which schema the source has.
    pub generation: Generation,
    /// Ways of tables, the largest first.
    pub routes: Vec<Route>,
    /// Tables and views that stay, and why.
    pub left: Vec<(String, String)>,
    /// What the tenant's database must be given.
    pub changes: Vec<Change>,
    /// Columns that may be NULL in the source and must not be in the destination: impossible if one is.
    pub nulls: Vec<(String, String)>,
    /// What makes it impossible.
    pub refusals: Vec<String>,
}

/// Names in the tenant's database that are the new system's own.
const OWN: [&str; 3] = ["tenant_config", "tenant_statistics", "_ownership"];

/// Finds the ways. `system` and `tenant` are the destination's tables.
pub fn resolve(source: &Tables, system: &Tables, tenant: &Tables, unmapped: Unmapped) -> Result<Routing, String> {
    let generation = Generation::of(source)?;
    let mut routing = Routing {
        generation,
        routes: Vec::new(),
        left: Vec::new(),
        changes: Vec::new(),
        nulls: Vec::new(),
        refusals: Vec::new(),
    };
    for (name, table) in source {
        if !table.is_base_table() {
            let kind = table.kind.to_ascii_lowercase();
            routing
                .left
                .push((name.clone(), format!("a {kind}: it has no rows of its own, make it anew if it is needed")));
        } else if let Some(mapped) = mapping::of(name) {
            let there = if mapped.place == Place::System { system } else { tenant };
            match there.get(name) {
                Some(target) => routing.map(name, table, mapped, target),
                None => {
                    routing.refusals.push(format!("the destination has no table {name}: run `control-plane migrate`"))
                }
            }
        } else if unmapped == Unmapped::Leave {
            routing.left.push((name.clone(), "not in the new schema, and --unmapped leave was chosen".into()));
        } else if OWN.contains(&name.as_str()) || name.starts_with("saas_") {
            routing.refusals.push(format!("{name} cannot be carried: the new schema has another table of this name"));
        } else {
            routing.carry(name, table, tenant.get(name));
        }
    }
    routing.routes.sort_by_key(|route| std::cmp::Reverse(route.bytes));
    Ok(routing)
}

impl Routing {
    /// Names of the tables on the way.
    pub fn tables(&self) -> Vec<String> {
        self.routes.iter().map(|route| route.table.clone()).collect()
    }

    fn map(&mut self, name: &str, table: &Table, mapped: &'static Mapped, target: &Table) {
        let mut columns = Vec::new();
        for column in table.written_columns() {
            let to = mapped.new_name(&column.name);
            let Some(target_column) = target.column(to) else {
                if mapped.added.contains(&to) {
                    self.change(mapped.place, name, to, column, false);
                    columns.push(RouteColumn { from: column.name.clone(), to: to.into(), column: column.clone() });
                } else {
                    self.refusals.push(format!(
                        "{name}.{} ({}) is unexpected: the new schema has no such column",
                        column.name, column.column_type
                    ));
                }
                continue;
            };
            match column.fit(target_column) {
                Fit::Yes => {}
                Fit::Widened => self.change(mapped.place, name, to, column, true),
                Fit::Never => self.refusals.push(format!(
                    "{name}.{} is {}, which is unexpected: the new schema has {}",
                    column.name, column.column_type, target_column.column_type
                )),
            }
            if column.nullable && !target_column.nullable {
                self.nulls.push((name.into(), column.name.clone()));
            }
            columns.push(RouteColumn { from: column.name.clone(), to: to.into(), column: column.clone() });
        }
        let arrived: BTreeSet<&str> = columns.iter().map(|column| column.to.as_str()).collect();
        let absent =
            |column: &Column| [mapped.added, mapped.ours].iter().any(|list| list.contains(&column.name.as_str()));
        for lacking in target.columns.iter().filter(|column| !arrived.contains(column.name.as_str()) && !absent(column))
        {
            self.refusals.push(format!("{name} lacks the column that the new schema has as {}", lacking.name));
        }
        if table.primary_key != ["id"] {
            self.refusals.push(format!("{name} has no primary key id"));
        }
        self.push(name, table, mapped.place, Some(mapped), columns, !target.unique_keys.is_empty());
    }

    fn carry(&mut self, name: &str, table: &Table, there: Option<&Table>) {
        let columns: Vec<_> = table
            .written_columns()
            .map(|column| RouteColumn { from: column.name.clone(), to: column.name.clone(), column: column.clone() })
            .collect();
        match there {
            None => self.changes.push(Change::Create { table: name.into() }),
            Some(there) => {
                let names =
                    |table: &Table| table.written_columns().map(|column| column.name.clone()).collect::<Vec<_>>();
                if names(there) != names(table) {
                    self.refusals.push(format!("the tenant's database has another table {name}, with other columns"));
                }
            }
        }
        self.push(name, table, Place::Tenant, None, columns, !table.unique_keys.is_empty());
    }

    fn push(
        &mut self,
        name: &str,
        table: &Table,
        place: Place,
        mapped: Option<&'static Mapped>,
        columns: Vec<RouteColumn>,
        unique: bool,
    ) {
        self.routes.push(Route {
            table: name.into(),
            place,
            mapped,
            columns,
            key: table.ordering_key().map(str::to_owned),
            unique,
            transactional: table.engine.eq_ignore_ascii_case("InnoDB"),
            rows: table.rows,
            bytes: table.bytes,
        });
    }

    fn change(&mut self, place: Place, table: &str, column: &str, from: &Column, widen: bool) {
        let (table, column, column_type) = (table.to_owned(), column.to_owned(), from.column_type.clone());
        match (place, widen) {
            (Place::Tenant, true) => self.changes.push(Change::Widen { table, column, column_type }),
            (Place::Tenant, false) => {
                // The new system does not know the column: its own rows must not need a value.
                let default = match (from.nullable, from.family()) {
                    (true, _) => "NULL",
                    (false, Family::Text) => "NOT NULL DEFAULT ('')",
                    (false, _) => "NOT NULL DEFAULT 0",
                };
                self.changes.push(Change::Add { table, column, definition: format!("{column_type} {default}") });
            }
            // The account of the services has no right to change the system database.
            (Place::System, _) => self.refusals.push(format!(
                "the system database's {table}.{column} is too narrow for the source's {column_type}: give it that type first"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::legacy::design;

    fn source() -> Tables {
        let mut tables = design::tables(Place::System);
        tables.retain(|name, _| !name.starts_with("saas_"));
        tables.extend(design::tables(Place::Tenant));
        OWN.iter().for_each(|own| drop(tables.remove(*own)));
        for table in ["order_orders", "order_pingxx_orders"] {
            let column = tables.get_mut(table).unwrap().columns.iter_mut().find(|column| column.name == "user_id");
            column.unwrap().name = "user_bid".into();
        }
        tables
    }

    fn routing(source: &Tables, unmapped: Unmapped) -> Result<Routing, String> {
        resolve(source, &design::tables(Place::System), &design::tables(Place::Tenant), unmapped)
    }

    #[test]
    fn the_known_schema_has_a_way_for_everything() {
        let routing = routing(&source(), Unmapped::Carry).unwrap();
        assert_eq!((routing.routes.len(), routing.generation), (23, Generation::September2025));
        assert!(routing.refusals.is_empty() && routing.changes.is_empty(), "{routing:?}");
    }

    #[test]
    fn unmapped_tables_are_carried_or_left_and_named() {
        let mut source = source();
        let table = source["active"].clone();
        source.insert("ai_course".into(), table.clone());
        source.insert("old_view".into(), Table { kind: "VIEW".into(), ..table });
        let carried = routing(&source, Unmapped::Carry).unwrap();
        assert_eq!(carried.changes, [Change::Create { table: "ai_course".into() }]);
        assert_eq!(carried.left.len(), 1);
        let left = routing(&source, Unmapped::Leave).unwrap();
        assert_eq!((left.routes.len(), left.left.len()), (23, 2));
    }

    #[test]
    fn what_is_unexpected_is_named() {
        let mut source = source();
        let text = source["active"].column("active_desc").unwrap().clone();
        source.get_mut("active").unwrap().columns.push(Column { name: "surprise".into(), ..text.clone() });
        source.get_mut("promo_coupons").unwrap().columns.retain(|column| column.name != "code");
        source.get_mut("user_info").unwrap().columns.iter_mut().find(|c| c.name == "mobile").unwrap().data_type =
            "int".into();
        let refusals = routing(&source, Unmapped::Carry).unwrap().refusals.join("\n");
        for name in ["active.surprise", "promo_coupons", "code", "user_info.mobile"] {
            assert!(refusals.contains(name), "{name} in {refusals}");
        }
    }

    #[test]
    fn newer_columns_are_added_and_longer_ones_widened() {
        let mut source = source();
        let long = Column {
            data_type: "longtext".into(),
            column_type: "longtext".into(),
            octets: Some(u64::from(u32::MAX)),
            characters: Some(u64::from(u32::MAX)),
            ..source["active"].column("active_desc").unwrap().clone()
        };
        source
            .get_mut("shifu_draft_outline_items")
            .unwrap()
            .columns
            .push(Column { name: "content".into(), ..long.clone() });
        let structs = &mut source.get_mut("shifu_log_draft_structs").unwrap().columns;
        *structs.iter_mut().find(|column| column.name == "struct").unwrap() = Column { name: "struct".into(), ..long };
        for newer in ["user_users", "user_auth_credentials"] {
            source.insert(newer.into(), Table { kind: "BASE TABLE".into(), ..Table::default() });
        }
        let routing = routing(&source, Unmapped::Leave).unwrap();
        assert_eq!(routing.generation, Generation::November2025);
        assert!(routing.refusals.is_empty(), "{:?}", routing.refusals);
        assert!(matches!(&routing.changes[..], [Change::Add { .. }, Change::Widen { .. }]), "{:?}", routing.changes);
    }

    #[test]
    fn other_databases_are_recognised() {
        let refused = |source: &Tables| Generation::of(source).unwrap_err();
        assert!(refused(&Tables::new()).contains("no AI-Shifu database"));
        let mut newest = source();
        for gone in ["user_info", "active", "shifu_draft_blocks"] {
            newest.remove(gone);
        }
        newest.insert("user_users".into(), Table::default());
        assert!(refused(&newest).contains("schema of 2026"));
        let mut part = source();
        part.remove("promo_coupons");
        assert!(refused(&part).contains("promo_coupons"));
        assert!(refused(&design::tables(Place::System)).contains("system database of the new system"));
    }
}
