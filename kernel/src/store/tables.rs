//! The tables that are folded from the log, and their names: the live ones, and the shadows a rebuild fills beside them.
//!
//! [`super::projections`] takes the names from here, so a rebuild runs the very statements of an append.

use crate::database::sql::{self, Sql};
use std::sync::LazyLock;

/// What is known of a projected table beyond its columns, which the database tells itself.
pub(super) struct Projection {
    /// Its name.
    pub table: &'static str,
    /// Columns that name a row to people, unique together.
    pub label: &'static [&'static str],
    /// Columns that are no projection but state of their own: a rebuild neither compares nor changes them.
    pub kept: &'static [&'static str],
}

const TENANTS: &str = "saas_tenants";
const DATABASES: &str = "saas_tenant_databases";
const MEMBERS: &str = "saas_tenant_users";
const SNAPSHOTS: &str = "saas_tenant_snapshots";
const DOMAINS: &str = "saas_tenant_domains";
const PENDING_DOMAINS: &str = "saas_pending_domains";
const RESERVATIONS: &str = "saas_reservations";

/// Every table that is folded from the log.
pub(super) const PROJECTIONS: [Projection; 7] = [
    Projection { table: TENANTS, label: &["tenant_id"], kept: &[] },
    Projection { table: DATABASES, label: &["tenant_id"], kept: &["db_username", "db_password_encrypted"] },
    Projection { table: MEMBERS, label: &["tenant_id", "user_id"], kept: &[] },
    Projection { table: SNAPSHOTS, label: &["tenant_id"], kept: &[] },
    Projection { table: DOMAINS, label: &["domain"], kept: &[] },
    Projection { table: PENDING_DOMAINS, label: &["domain", "tenant_id"], kept: &[] },
    Projection { table: RESERVATIONS, label: &["kind", "value"], kept: &[] },
];

impl Projection {
    /// Quoted name of the live table.
    pub(super) fn live(&self) -> Sql {
        quoted(self.table, "")
    }

    /// Quoted name of its shadow.
    pub(super) fn shadow(&self) -> Sql {
        quoted(self.table, SHADOW)
    }
}

/// Quoted names, as the statements of the projections use them.
pub(super) struct Tables {
    pub tenants: Sql,
    pub databases: Sql,
    pub members: Sql,
    pub snapshots: Sql,
    pub domains: Sql,
    pub pending_domains: Sql,
    pub reservations: Sql,
}

/// What the name of a shadow ends in.
const SHADOW: &str = "__rebuild";

/// The tables everybody reads.
pub(super) static LIVE: LazyLock<Tables> = LazyLock::new(|| Tables::named(""));

/// The tables a rebuild fills.
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
    sql::identifier(&format!("{table}{suffix}")).expect("the names above are fit for SQL")
}
