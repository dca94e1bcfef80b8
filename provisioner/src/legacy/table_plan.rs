//! The plan of each table: which column of the source goes to which column of the destination.
//!
//! It is made from both schemas and the mapping, before anything is changed. It refuses what does not fit: a column
//! that the new schema does not have, a type that would change a value, a table that is missing.

use super::generation::Generation;
use super::mapping::{self, Mapped, TargetDatabase};
use crate::tables::column::{Column, Family, Fit};
use crate::tables::schema::{Table, Tables};
use clap::ValueEnum;
use serde::Serialize;
use std::collections::BTreeSet;

/// What becomes of tables that the new schema does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Unmapped {
    /// The import creates them in the tenant's database as they are, with their rows.
    #[default]
    Carry,
    /// They stay where they are, and the plan lists them.
    Leave,
}

impl Unmapped {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Carry => "carry",
            Self::Leave => "leave",
        }
    }
}

/// Where a column goes.
#[derive(Clone, Debug)]
pub struct ColumnPlan {
    /// Name in the source.
    pub from: String,
    /// Name in the destination.
    pub to: String,
    /// Its type in the source.
    pub column: Column,
}

/// Where a table and its columns go.
#[derive(Clone, Debug)]
pub struct TablePlan {
    /// Name of the table, the same on both sides.
    pub table: String,
    pub target: TargetDatabase,
    /// Its entry in the mapping. `None` if it is carried as it is.
    pub mapped: Option<&'static Mapped>,
    /// Columns that are copied.
    pub columns: Vec<ColumnPlan>,
    /// The column that orders the rows and by which they are cut into chunks ([`Table::ordering_key`]).
    pub key: Option<String>,
    /// Whether the destination has a unique key besides the primary key, which the server must check.
    pub unique: bool,
    /// Whether the server computes some of its columns from others.
    pub computes: bool,
    /// Whether a transaction reads a snapshot of it.
    pub transactional: bool,
    /// Rows in the source, as its server estimates.
    pub rows: u64,
    /// Bytes in the source, as its server estimates.
    pub bytes: u64,
}

/// A change that the destination needs before rows can arrive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "change")]
pub enum Change {
    /// Creates the table as the source has it.
    Create { table: String },
    /// Adds the column.
    Add {
        table: String,
        column: String,
        /// Its type, and whether it may be NULL.
        definition: String,
    },
    /// Lets the column be NULL, as it is in rows of the source.
    Relax { table: String, column: String },
    /// Gives the column the source's type, which is wider.
    Widen {
        /// The database of the table.
        target: TargetDatabase,
        table: String,
        column: String,
        /// The new type.
        column_type: String,
    },
}

/// A column that may be NULL in the source and not in the destination.
#[derive(Clone, Debug)]
pub struct NullColumn {
    pub table: String,
    /// Its name in the source.
    pub from: String,
    /// Its name in the destination.
    pub to: String,
    /// Whether the destination may be changed. Otherwise a row with NULL makes the move impossible.
    pub may_be_relaxed: bool,
}

/// The plans of all tables.
#[derive(Debug)]
pub struct TablePlans {
    /// Which schema the source has.
    pub generation: Generation,
    /// The tables that are moved, the largest first.
    pub tables: Vec<TablePlan>,
    /// Tables and views that are not moved, and why.
    pub left: Vec<(String, String)>,
    /// The changes that the tenant's database needs.
    pub changes: Vec<Change>,
    /// Columns that may be NULL in the source and not in the destination.
    pub nulls: Vec<NullColumn>,
    /// What makes the move impossible.
    pub refusals: Vec<String>,
}

/// Tables of a tenant's database that belong to the new system alone.
const OWN: [&str; 3] = ["tenant_config", "tenant_statistics", "_ownership"];

/// Plans all tables. `system` and `tenant` are the tables of the destination. The error says why the source cannot be
/// moved.
pub fn resolve(source: &Tables, system: &Tables, tenant: &Tables, unmapped: Unmapped) -> Result<TablePlans, String> {
    let generation = Generation::of(source)?;
    let mut plans = TablePlans {
        generation,
        tables: Vec::new(),
        left: Vec::new(),
        changes: Vec::new(),
        nulls: Vec::new(),
        refusals: Vec::new(),
    };
    for (name, table) in source {
        if !table.is_base_table() {
            let kind = table.kind.to_ascii_lowercase();
            plans
                .left
                .push((name.clone(), format!("a {kind}: it has no rows of its own, create it again if it is needed")));
        } else if let Some(mapped) = mapping::of(name) {
            let there = if mapped.target == TargetDatabase::System { system } else { tenant };
            match there.get(name) {
                Some(target) => plans.map(name, table, mapped, target),
                None => {
                    plans.refusals.push(format!("the destination has no table {name}: run `control-plane migrate`"))
                }
            }
        } else if unmapped == Unmapped::Leave {
            plans.left.push((name.clone(), "not in the new schema, and --unmapped leave was chosen".into()));
        } else if OWN.contains(&name.as_str()) || name.starts_with("saas_") {
            plans.refusals.push(format!("{name} cannot be carried: the new schema has another table of this name"));
        } else {
            plans.carry(name, table, tenant.get(name));
            plans.refuse_keys_elsewhere(name, table, source);
        }
    }
    plans.tables.sort_by_key(|plan| std::cmp::Reverse(plan.bytes));
    Ok(plans)
}

impl TablePlans {
    /// Names of the tables that are moved.
    pub fn names(&self) -> Vec<String> {
        self.tables.iter().map(|plan| plan.table.clone()).collect()
    }

    fn map(&mut self, name: &str, table: &Table, mapped: &'static Mapped, target: &Table) {
        let mut columns = Vec::new();
        for column in table.written_columns() {
            let to = mapped.new_name(&column.name);
            let Some(target_column) = target.column(to) else {
                if mapped.added.contains(&to) {
                    self.change(mapped.target, name, to, column, false);
                    columns.push(ColumnPlan { from: column.name.clone(), to: to.into(), column: column.clone() });
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
                Fit::Widened => self.change(mapped.target, name, to, column, true),
                Fit::Never => self.refusals.push(format!(
                    "{name}.{} is {}, which is unexpected: the new schema has {}",
                    column.name, column.column_type, target_column.column_type
                )),
            }
            if column.nullable && !target_column.nullable {
                self.nulls.push(NullColumn {
                    table: name.into(),
                    from: column.name.clone(),
                    to: to.into(),
                    may_be_relaxed: mapped.may_be_null(to),
                });
            }
            columns.push(ColumnPlan { from: column.name.clone(), to: to.into(), column: column.clone() });
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
        self.push(name, table, mapped.target, Some(mapped), columns, !target.unique_keys.is_empty());
    }

    fn carry(&mut self, name: &str, table: &Table, there: Option<&Table>) {
        let columns: Vec<_> = table
            .written_columns()
            .map(|column| ColumnPlan { from: column.name.clone(), to: column.name.clone(), column: column.clone() })
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
        self.push(name, table, TargetDatabase::Tenant, None, columns, !table.unique_keys.is_empty());
    }

    /// A carried table cannot refer to a table that does not go to the same database.
    fn refuse_keys_elsewhere(&mut self, name: &str, table: &Table, source: &Tables) {
        for (other, referred) in &table.refers_to {
            let goes_along = source.get(referred).is_some_and(Table::is_base_table)
                && mapping::of(referred).is_none_or(|mapped| mapped.target == TargetDatabase::Tenant);
            let referred = match other {
                None if goes_along => continue,
                None => referred.clone(),
                Some(other) => format!("{other}.{referred}"),
            };
            self.refusals.push(format!(
                "{name} has a foreign key into {referred}, which does not go to the tenant's database: drop the key, \
                 or leave such tables with --unmapped leave"
            ));
        }
    }

    fn push(
        &mut self,
        name: &str,
        table: &Table,
        target: TargetDatabase,
        mapped: Option<&'static Mapped>,
        columns: Vec<ColumnPlan>,
        unique: bool,
    ) {
        self.tables.push(TablePlan {
            table: name.into(),
            target,
            mapped,
            columns,
            key: table.ordering_key().map(str::to_owned),
            unique,
            computes: table.columns.iter().any(|column| column.generated),
            transactional: table.has_snapshots(),
            rows: table.rows,
            bytes: table.bytes,
        });
    }

    fn change(&mut self, target: TargetDatabase, table: &str, column: &str, from: &Column, widen: bool) {
        let (table, column, column_type) = (table.to_owned(), column.to_owned(), from.column_type.clone());
        match (target, widen) {
            (_, true) => self.changes.push(Change::Widen { target, table, column, column_type }),
            (TargetDatabase::Tenant, false) => {
                // The new system does not know the column, so the rows that it writes must not need a value.
                let default = match (from.nullable, from.family()) {
                    (true, _) => "NULL",
                    (false, Family::Text) => "NOT NULL DEFAULT ('')",
                    (false, _) => "NOT NULL DEFAULT 0",
                };
                self.changes.push(Change::Add { table, column, definition: format!("{column_type} {default}") });
            }
            (TargetDatabase::System, false) => self.refusals.push(format!(
                "{table}.{column} ({column_type}) is unexpected: the system database has no such column"
            )),
        }
    }
}

#[cfg(test)]
mod tests;
