//! Compares what a tenant should have with what was seen on its server. A pure function of the two.

use super::expected::{Expected, Hosts, Presence, Stored, presence};
use crate::sagas::shared::schema::expected_tables;
use crate::server::inventory::{DatabaseSeen, Inventory, Right, UserSeen};
use crate::server::{Dialect, Marker, password_hash};
use kernel::audit::{Drift, Finding};
use std::collections::BTreeSet;

/// What the accounts of this installation look like on the server.
pub struct Ours<'a> {
    /// The id of this installation.
    pub installation: &'a str,
    /// The host part of tenants' accounts.
    pub account_host: &'a str,
    /// The kind of the server.
    pub dialect: Dialect,
}

/// Rights that a tenant's user has on every table of its database.
const RIGHTS: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];

/// All differences of one tenant.
pub fn of_tenant(ours: &Ours<'_>, expected: &Expected, seen: &Inventory) -> Vec<Finding> {
    let tenant = &expected.tenant;
    let presence = presence(tenant);
    let mut found = Findings::default();
    let (name, database) = (&tenant.database.name, seen.databases.get(&tenant.database.name));
    if expected.rotation {
        found.add(Drift::RotationLeft, tenant.tenant_id.as_str(), "its row has no job");
    }
    match presence {
        Presence::Unknown => found.add(Drift::JobMissing, tenant.tenant_id.as_str(), "nothing makes its database"),
        Presence::Nothing => {
            if database.is_some_and(|database| is_marked(ours, expected, database)) {
                found.add(Drift::DatabaseOrphan, name, format!("its tenant is {}", tenant.state));
            }
            if !expected.in_use.is_empty() {
                found.add(Drift::CredentialLeft, tenant.tenant_id.as_str(), format!("the tenant is {}", tenant.state));
            }
        }
        Presence::Locked | Presence::Open => {
            match database {
                None => found.add(Drift::DatabaseMissing, name, "there is no database of this name"),
                Some(database) if is_marked(ours, expected, database) => of_schema(expected, database, &mut found),
                Some(_) => {
                    found.add(Drift::DatabaseUnmarked, name, "its ownership marker is missing or names another owner")
                }
            }
            match &expected.password {
                Stored::Nothing => found.add(Drift::CredentialMissing, tenant.tenant_id.as_str(), "its row has none"),
                Stored::Unreadable => {
                    found.add(Drift::CredentialUnreadable, tenant.tenant_id.as_str(), "wrong key ring or changed row");
                }
                Stored::Password(_) => {}
            }
        }
    }
    if presence != Presence::Unknown {
        of_users(ours, expected, presence, seen, &mut found);
    }
    found.0
}

/// Whether the database carries the ownership marker of this tenant of this installation.
pub fn is_marked(ours: &Ours<'_>, expected: &Expected, database: &DatabaseSeen) -> bool {
    let owner = Marker::new(ours.installation, &expected.tenant.tenant_id);
    database.marker.as_ref().is_some_and(|marker| marker.is_of(&owner))
}

fn of_schema(expected: &Expected, database: &DatabaseSeen, found: &mut Findings) {
    let (Some(marker), said) = (&database.marker, &expected.tenant.database) else { return };
    if marker.schema != said.schema_version {
        let detail = format!("the ownership marker says {}, the events say {}", marker.schema, said.schema_version);
        found.add(Drift::SchemaDiffers, &said.name, detail);
    // A database that a newer program has migrated can be judged by a newer program only.
    } else if marker.schema <= kernel::database::migrate::tenant_schema()
        && let Err(error) = marker.is_current()
    {
        found.add(Drift::SchemaDiffers, &said.name, error.to_string());
    }
    let missing: Vec<_> = expected_tables(marker.schema).filter(|table| !database.tables.contains(*table)).collect();
    if !missing.is_empty() {
        found.add(Drift::TableMissing, &said.name, missing.join(", "));
    }
}

fn of_users(ours: &Ours<'_>, expected: &Expected, presence: Presence, seen: &Inventory, found: &mut Findings) {
    // If the users could not be read, nothing is known of them.
    let Some(users) = &seen.users else { return };
    // A host that a job has recorded counts, whatever the setting says by now.
    let is_at_host = |user: &UserSeen| match &expected.hosts {
        Hosts::Recorded(names) if names.iter().any(|name| name.username == user.username) => {
            names.iter().any(|name| name.username == user.username && name.host == user.host)
        }
        Hosts::Recorded(_) => user.host == ours.account_host,
        Hosts::Unrecorded => true,
    };
    let is_account = |user: &UserSeen| user.username == expected.in_use && is_at_host(user);
    let mut account = None;
    for user in users.iter().filter(|user| expected.usernames.contains(&user.username)) {
        if presence != Presence::Nothing && is_account(user) {
            account = Some(user);
        } else {
            let detail = if user.locked { "locked" } else { "can log in" };
            found.add(Drift::UserLeft, subject(user), detail);
        }
    }
    if let Some(user) = account {
        of_account(ours, expected, presence, user, found);
    } else if presence != Presence::Nothing && matches!(expected.password, Stored::Password(_)) {
        found.add(Drift::UserMissing, &expected.in_use, format!("no user of this name at {}", ours.account_host));
    }
    for username in &expected.usernames {
        let sessions = seen.sessions.get(username).copied().unwrap_or(0);
        let may = presence == Presence::Open && *username == expected.in_use;
        if sessions > 0 && !may {
            found.add(Drift::SessionLeft, username, format!("{sessions} sessions"));
        }
    }
}

fn of_account(ours: &Ours<'_>, expected: &Expected, presence: Presence, user: &UserSeen, found: &mut Findings) {
    let tenant = &expected.tenant;
    let subject = subject(user);
    match presence {
        Presence::Open if user.locked => {
            found.add(Drift::AccountLocked, &subject, format!("the tenant is {}", tenant.state));
        }
        Presence::Locked if !user.locked => {
            found.add(Drift::AccountOpen, &subject, format!("the tenant is {}", tenant.state));
        }
        _ => {}
    }
    // A locked account gets its limit when it is unlocked.
    if presence == Presence::Open && user.max_connections != expected.max_connections {
        let detail = format!("{} instead of {}", user.max_connections, expected.max_connections);
        found.add(Drift::LimitDiffers, &subject, detail);
    }
    let expected_rights = rights(&tenant.database.name);
    if user.rights != expected_rights {
        let listed = |rights: BTreeSet<&Right>| {
            rights.into_iter().map(|(on, right)| format!("{right} on {on}")).collect::<Vec<_>>().join(", ")
        };
        let lacking = listed(expected_rights.difference(&user.rights).collect());
        let beyond = listed(user.rights.difference(&expected_rights).collect());
        let detail = [("lacks ", lacking), ("has ", beyond)];
        let detail: Vec<_> =
            detail.iter().filter(|(_, rights)| !rights.is_empty()).map(|(a, b)| format!("{a}{b}")).collect();
        found.add(Drift::GrantsDiffer, &subject, detail.join("; "));
    }
    if user.expires {
        found.add(Drift::PasswordExpires, &subject, "the server's policy for passwords applies to it");
    }
    if let Stored::Password(password) = &expected.password {
        if user.plugin != password_hash::plugin(ours.dialect) {
            found.add(Drift::PasswordDiffers, &subject, "it authenticates in another way");
        } else if !password_hash::is_of(ours.dialect, &user.hash, password) {
            found.add(Drift::PasswordDiffers, &subject, "the server has another password");
        }
    }
}

/// The rights that a tenant's user should have: on the rows of its own database, with `_` escaped, which is a wildcard.
pub fn rights(database: &str) -> BTreeSet<Right> {
    let on = format!("{}.*", database.replace('_', "\\_").replace('%', "\\%"));
    RIGHTS.iter().map(|right| (on.clone(), (*right).to_owned())).collect()
}

/// How findings name a user.
pub fn subject(user: &UserSeen) -> String {
    format!("{}@{}", user.username, user.host)
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, kind: Drift, subject: impl Into<String>, detail: impl Into<String>) {
        self.0.push(Finding { kind, subject: subject.into(), detail: detail.into() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::account::AccountName;
    use kernel::domain::{BeforeDeletion, Tenant, TenantState};
    use std::collections::BTreeMap;

    const OURS: Ours<'static> = Ours { installation: "i1", account_host: "%", dialect: Dialect::MariaDb };

    const NONE: [Drift; 0] = [];

    fn tenant(state: TenantState) -> Tenant {
        let tenant = serde_json::json!({
            "tenant_id": "acme", "tenant_name": "Acme", "tenant_domain": null, "domains": [], "status": 1,
            "state": state,
            "plan_type": "basic", "version": 3, "position": 3,
            "database": {"server": "main", "host": "h", "port": 3306, "name": "ai_shifu_tenant_acme",
                         "max_connections": 20,
                         "schema_version": Marker::new("i1", &"acme".parse().unwrap()).migrated().schema},
            "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
        });
        serde_json::from_value(tenant).unwrap()
    }

    fn expected(state: TenantState) -> Expected {
        let usernames = ["ten_1_a", "ten_1_b"].map(String::from);
        let has = !matches!(state, TenantState::Failed | TenantState::Purged);
        Expected {
            tenant: tenant(state),
            in_use: if has { usernames[0].clone() } else { String::new() },
            password: if has { Stored::Password("secret".into()) } else { Stored::Nothing },
            usernames,
            max_connections: 20,
            hosts: Hosts::Recorded(vec![AccountName { username: "ten_1_a".into(), host: "%".into() }]),
            rotation: false,
            busy: false,
        }
    }

    fn seen(locked: bool) -> Inventory {
        let marker = Marker::new("i1", &"acme".parse().unwrap()).migrated();
        let tables = expected_tables(marker.schema).map(str::to_owned).collect();
        let user = UserSeen {
            username: "ten_1_a".into(),
            host: "%".into(),
            locked,
            max_connections: 20,
            plugin: "mysql_native_password".into(),
            hash: password_hash::hash(Dialect::MariaDb, &"secret".into()).into_bytes(),
            expires: false,
            rights: rights("ai_shifu_tenant_acme"),
        };
        Inventory {
            databases: BTreeMap::from([("ai_shifu_tenant_acme".into(), DatabaseSeen { marker: Some(marker), tables })]),
            users: Some(vec![user]),
            sessions: BTreeMap::new(),
        }
    }

    fn kinds(expected: &Expected, seen: &Inventory) -> Vec<Drift> {
        of_tenant(&OURS, expected, seen).into_iter().map(|finding| finding.kind).collect()
    }

    #[test]
    fn the_state_decides_whether_the_account_is_open() {
        use TenantState::*;
        for (state, locked) in [(Active, false), (Maintenance, false), (Suspended, true)] {
            assert_eq!(kinds(&expected(state), &seen(locked)), NONE);
            let wrong = if locked { Drift::AccountOpen } else { Drift::AccountLocked };
            assert_eq!(kinds(&expected(state), &seen(!locked)), [wrong]);
        }
        for state in [Failed, Purged] {
            assert_eq!(kinds(&expected(state), &Inventory::default()), NONE);
            assert_eq!(kinds(&expected(state), &seen(true)), [Drift::DatabaseOrphan, Drift::UserLeft]);
        }
        let mut deleted = expected(Deleted);
        deleted.tenant.before_deletion = Some(BeforeDeletion { state: Active, reason: None });
        assert_eq!(kinds(&deleted, &seen(true)), NONE, "its data is kept, and no login is allowed");
        assert_eq!(kinds(&expected(Provisioning), &seen(false)), [Drift::JobMissing]);
    }

    #[test]
    fn an_account_counts_at_the_host_that_it_was_made_with() {
        let ours = Ours { account_host: "10.0.%", ..OURS };
        let kinds = |hosts: Hosts, host: &str| -> Vec<Drift> {
            let mut seen = seen(false);
            seen.users.as_mut().unwrap()[0].host = host.into();
            let expected = Expected { hosts, ..expected(TenantState::Active) };
            of_tenant(&ours, &expected, &seen).into_iter().map(|finding| finding.kind).collect()
        };
        let recorded = || Hosts::Recorded(vec![AccountName { username: "ten_1_a".into(), host: "%".into() }]);
        assert_eq!(kinds(recorded(), "%"), NONE, "the setting was changed after the account was made");
        assert_eq!(kinds(Hosts::Unrecorded, "%"), NONE);
        assert_eq!(kinds(recorded(), "10.9.8.7"), [Drift::UserLeft, Drift::UserMissing]);
    }

    #[test]
    fn the_limit_is_compared_for_open_accounts_only() {
        let other = |state| Expected { max_connections: 5, ..expected(state) };
        assert_eq!(kinds(&other(TenantState::Active), &seen(false)), [Drift::LimitDiffers]);
        assert_eq!(kinds(&other(TenantState::Suspended), &seen(true)), NONE);
    }

    #[test]
    fn a_schema_must_match_the_events_unless_it_is_newer() {
        let with = |said: u32, marked: Marker| {
            let (mut expected, mut seen) = (expected(TenantState::Active), seen(false));
            expected.tenant.database.schema_version = said;
            seen.databases.get_mut("ai_shifu_tenant_acme").unwrap().marker = Some(marked);
            kinds(&expected, &seen)
        };
        let marker = Marker::new("i1", &"acme".parse().unwrap());
        let newest = marker.migrated();
        assert_eq!(with(newest.schema + 1, newest.clone()), [Drift::SchemaDiffers]);
        assert_eq!(with(newest.schema, Marker { sum: "00".into(), ..newest.clone() }), [Drift::SchemaDiffers]);
        assert_eq!(with(newest.schema + 1, Marker { schema: newest.schema + 1, sum: "00".into(), ..newest }), NONE);
    }

    #[test]
    fn unreadable_or_foreign_users_are_no_drift() {
        let active = expected(TenantState::Active);
        assert_eq!(kinds(&active, &Inventory { users: None, ..seen(false) }), NONE);
        let mut others = seen(false);
        let users = others.users.get_or_insert_default();
        users.push(UserSeen { username: "ten_2_a".into(), ..users[0].clone() });
        assert_eq!(kinds(&active, &others), NONE);
        let mut foreign = seen(false);
        let marker = Marker::new("i2", &"acme".parse().unwrap()).migrated();
        foreign.databases.get_mut("ai_shifu_tenant_acme").unwrap().marker = Some(marker);
        assert_eq!(kinds(&active, &foreign), [Drift::DatabaseUnmarked]);
        assert_eq!(kinds(&expected(TenantState::Failed), &Inventory { users: None, ..foreign }), NONE);
    }
}
