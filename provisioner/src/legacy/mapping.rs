//! Which table of the old database goes where: the one list that all commands read.
//!
//! Columns keep their names unless `renamed` lists them. A table that the list does not name is unmapped: by the
//! operator's choice it is carried into the tenant's database as it is, or left where it is, and the plan names it.

/// The database that a table goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetDatabase {
    System,
    /// The database of the default tenant.
    Tenant,
}

/// A table that both schemas have.
#[derive(Debug)]
pub struct Mapped {
    /// Its name, in the old database and in the new one.
    pub table: &'static str,
    pub target: TargetDatabase,
    /// Columns that the new schema names otherwise: old name, new name.
    pub renamed: &'static [(&'static str, &'static str)],
    /// Columns that newer generations have and the new schema does not: the import adds them.
    pub added: &'static [&'static str],
    /// Columns of the new table that no old one has: arriving rows get its default.
    pub ours: &'static [&'static str],
    /// Columns that may be NULL in the new table and not in the old one, each with the expression of the new table
    /// whose value goes back instead of NULL.
    pub back: &'static [(&'static str, &'static str)],
    /// The old column that names a user. `verify` reports its references, and `rollback` chooses rows by it.
    pub user: Option<&'static str>,
}

const fn system(table: &'static str, user: Option<&'static str>) -> Mapped {
    Mapped { table, target: TargetDatabase::System, renamed: &[], added: &[], ours: &[], back: &[], user }
}

const fn tenant(table: &'static str, user: Option<&'static str>) -> Mapped {
    Mapped { table, target: TargetDatabase::Tenant, renamed: &[], added: &[], ours: &[], back: &[], user }
}

/// The 23 tables of the new schema.
pub const MAPPED: [Mapped; 23] = [
    system("user_info", None),
    Mapped { ours: &["token_ttl"], ..system("user_token", Some("user_id")) },
    system("user_verify_code", None),
    system("user_conversion", Some("user_id")),
    Mapped { renamed: &[("user_bid", "user_id")], ..tenant("order_orders", Some("user_bid")) },
    Mapped {
        renamed: &[("user_bid", "user_id")],
        back: &[
            ("extra", "''"),
            ("charge_object", "''"),
            ("paid_at", "created_at"),
            ("refunded_at", "created_at"),
            ("closed_at", "created_at"),
            ("failed_at", "created_at"),
        ],
        ..tenant("order_pingxx_orders", Some("user_bid"))
    },
    tenant("shifu_draft_shifus", None),
    tenant("shifu_published_shifus", None),
    Mapped { added: &["content"], ..tenant("shifu_draft_outline_items", None) },
    Mapped { added: &["content"], ..tenant("shifu_published_outline_items", None) },
    tenant("shifu_draft_blocks", None),
    tenant("shifu_published_blocks", None),
    tenant("shifu_log_draft_structs", None),
    tenant("shifu_log_published_structs", None),
    tenant("scenario_favorite", Some("user_id")),
    tenant("scenario_resource", None),
    tenant("ai_course_auth", Some("user_id")),
    tenant("learn_progress_records", Some("user_bid")),
    tenant("learn_generated_blocks", Some("user_bid")),
    tenant("active", None),
    tenant("active_user_record", Some("user_id")),
    tenant("promo_coupons", None),
    tenant("promo_coupon_usages", Some("user_bid")),
];

/// Columns of the new tables that the services read and that therefore cannot be NULL. The services read all columns of
/// users.
const READ: [(&str, &[&str]); 3] = [
    (
        "order_orders",
        &[
            "order_bid",
            "shifu_bid",
            "user_id",
            "payable_price",
            "paid_price",
            "status",
            "deleted",
            "created_at",
            "updated_at",
        ],
    ),
    ("shifu_published_shifus", &["shifu_bid", "title", "description", "avatar_res_bid", "deleted"]),
    ("learn_progress_records", &["shifu_bid", "user_bid", "status", "deleted"]),
];

/// A column that names a row of another table, by old names. Neither schema has foreign keys.
#[derive(Debug)]
pub struct Reference {
    /// The table with the reference.
    pub table: &'static str,
    pub column: &'static str,
    /// The table that it refers to, in the same database.
    pub target: &'static str,
    pub key: &'static str,
}

const fn reference(table: &'static str, column: &'static str, target: &'static str, key: &'static str) -> Reference {
    Reference { table, column, target, key }
}

/// References within one database. Those to users cross databases and follow from [`Mapped::user`].
pub const REFERENCES: [Reference; 12] = [
    reference("order_pingxx_orders", "order_bid", "order_orders", "order_bid"),
    reference("order_orders", "shifu_bid", "shifu_published_shifus", "shifu_bid"),
    reference("shifu_published_outline_items", "shifu_bid", "shifu_published_shifus", "shifu_bid"),
    reference("shifu_published_blocks", "outline_item_bid", "shifu_published_outline_items", "outline_item_bid"),
    reference("shifu_draft_outline_items", "shifu_bid", "shifu_draft_shifus", "shifu_bid"),
    reference("shifu_draft_blocks", "outline_item_bid", "shifu_draft_outline_items", "outline_item_bid"),
    reference("shifu_log_draft_structs", "shifu_bid", "shifu_draft_shifus", "shifu_bid"),
    reference("shifu_log_published_structs", "shifu_bid", "shifu_published_shifus", "shifu_bid"),
    reference("learn_progress_records", "shifu_bid", "shifu_published_shifus", "shifu_bid"),
    reference("learn_generated_blocks", "progress_record_bid", "learn_progress_records", "progress_record_bid"),
    reference("active_user_record", "active_id", "active", "active_id"),
    reference("promo_coupon_usages", "coupon_bid", "promo_coupons", "coupon_bid"),
];

/// The mapping of an old table.
pub fn of(table: &str) -> Option<&'static Mapped> {
    MAPPED.iter().find(|mapped| mapped.table == table)
}

impl Mapped {
    /// Whether a column of the new table may become one that can be NULL.
    pub fn may_be_null(&self, column: &str) -> bool {
        let is_read = READ.iter().any(|(table, columns)| *table == self.table && columns.contains(&column));
        self.target == TargetDatabase::Tenant && column != "id" && !is_read
    }

    /// A column's name in the new table.
    pub fn new_name<'a>(&self, old: &'a str) -> &'a str
    where
        'static: 'a,
    {
        self.renamed.iter().find(|(from, _)| *from == old).map_or(old, |(_, to)| to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_table_is_listed_once_and_references_stay_in_one_database() {
        let names: HashSet<_> = MAPPED.iter().map(|mapped| mapped.table).collect();
        assert_eq!(names.len(), MAPPED.len());
        for reference in &REFERENCES {
            let place = |table| of(table).map(|mapped| mapped.target);
            assert!(place(reference.table).is_some() && place(reference.table) == place(reference.target));
        }
        assert_eq!(of("order_orders").unwrap().new_name("user_bid"), "user_id");
        assert_eq!(of("learn_progress_records").unwrap().new_name("user_bid"), "user_bid");
    }
}
