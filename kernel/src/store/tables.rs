//! The names of the projected tables: the live ones, and the shadows that a rebuild fills.
//!
//! [`super::projections`] takes the names from here, so a rebuild runs exactly the statements of an append.

use crate::database::sql::{self, Sql};
use std::sync::LazyLock;

/// A projected table. The database itself says which columns it has.
pub(super) struct Projection {
    /// The name of the table.
    pub table: &'static str,
    /// The columns that name a row for operators. Together they are unique.
    pub label: &'static [&'static str],
    /// The columns that are not projected but state of their own. A rebuild neither compares nor changes them.
    pub unprojected: &'static [&'static str],
}

const TENANTS: &str = "saas_tenants";
const DATABASES: &str = "saas_tenant_databases";
const MEMBERS: &str = "saas_tenant_users";
const SNAPSHOTS: &str = "saas_tenant_snapshots";
const DOMAINS: &str = "saas_tenant_domains";
const PENDING_DOMAINS: &str = "saas_pending_domains";
const RESERVATIONS: &str = "saas_reservations";

/// Every projected table.
pub(super) const PROJECTIONS: [Projection; 7] = [
    Projection { table: TENANTS, label: &["tenant_id"], unprojected: &[] },
    Projection { table: DATABASES, label: &["tenant_id"], unprojected: &["db_username", "db_password_encrypted"] },
    Projection { table: MEMBERS, label: &["tenant_id", "user_id"], unprojected: &[] },
    Projection { table: SNAPSHOTS, label: &["tenant_id"], unprojected: &[] },
    Projection { table: DOMAINS, label: &["domain"], unprojected: &[] },
    Projection { table: PENDING_DOMAINS, label: &["domain", "tenant_id"], unprojected: &[] },
    Projection { table: RESERVATIONS, label: &["kind", "value"], unprojected: &[] },
];

impl Projection {
    /// The quoted name of the live table.
    pub(super) fn live(&self) -> Sql {
        quoted(self.table, "")
    }

    /// The quoted name of its shadow.
    pub(super) fn shadow(&self) -> Sql {
        quoted(self.table, SHADOW)
    }
}

/// The quoted names of all tables, as the statements of the projections use them.
pub(super) struct Tables {
    pub tenants: Sql,
    pub databases: Sql,
    pub members: Sql,
    pub snapshots: Sql,
    pub domains: Sql,
    pub pending_domains: Sql,
    pub reservations: Sql,
}

/// The suffix of a shadow's name.
const SHADOW: &str = "__rebuild";

pub(super) static LIVE: LazyLock<Tables> = LazyLock::new(|| Tables::named(""));

/// The shadows that a rebuild fills.
pub(super) static SHADOWS: LazyLock<Tables> = LazyLock::new(|| Tables::named(SHADOW));

impl Tables {
    fn named(suffix: &str) -> Self {
        Self {
            tenants: quoted(TENANTS, suffix),
            databases: quoted(DATABASES, suffix),
            members: quoted(MEMBERS, suffix),
            snapshots: quoted(SNAPSHOTS, suffix),
            domains: quoted(DOMAINS, suffix),
            pending_domains: quoted(PENDING_DOMAINS, suffix),
            reservations: quoted(RESERVATIONS, suffix),
        }
    }
}

fn quoted(table: &str, suffix: &str) -> Sql {
    sql::identifier(&format!("{table}{suffix}")).expect("the names above can be quoted")
}
