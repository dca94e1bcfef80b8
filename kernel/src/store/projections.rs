//! The projections: rows with the current state, written in the transaction of the append that changes them.
//!
//! Each row is a function of the tenant's events alone (its `id` is the position of the event that created it), so the
//! rows can be dropped and rebuilt from the log byte for byte. The only exception are the credential columns of
//! `saas_tenant_databases` (`db_username`, `db_password_encrypted`), which are state of their own that the provisioner
//! writes.

use super::append::CommandError;
use super::tables::Tables;
use crate::domain::{DomainName, RecordedEvent, Tenant, TenantEvent, TenantState};
use chrono::{NaiveDateTime, TimeDelta};
use sqlx::{MySql, MySqlConnection, QueryBuilder};

/// How long a removed domain is reserved before another tenant may take it. Old links, cookies and DNS entries of the
/// former owner live about that long.
const DOMAIN_REST: TimeDelta = TimeDelta::days(30);

/// Writes the changes of `events` into `tables`. `after` is the tenant after the last of them.
pub(super) async fn write(
    connection: &mut MySqlConnection,
    tables: &Tables,
    created: bool,
    after: &Tenant,
    events: &[RecordedEvent],
) -> Result<(), CommandError> {
    let first = events.first().map_or(after.position, |event| event.position);
    snapshot(connection, tables, created.then_some(first.0), after).await?;
    let mut rest = events;
    while let [event, after_it @ ..] = rest {
        let joined = rest.iter().take(MEMBERS_AT_ONCE).map_while(Member::of).collect::<Vec<_>>();
        if !joined.is_empty() {
            members_changed(connection, tables, &joined).await?;
            rest = &rest[joined.len()..];
            continue;
        }
        rest = after_it;
        match &event.event {
            TenantEvent::DomainRegistered { domain, .. } => {
                domain_registered(connection, tables, event, domain).await?
            }
            TenantEvent::DomainRequested { domain, challenge, valid_days } => {
                domain_requested(connection, tables, event, domain, challenge, *valid_days).await?;
            }
            TenantEvent::DomainRequestExpired { domain } | TenantEvent::DomainRequestWithdrawn { domain } => {
                request_ended(connection, tables, event, domain).await?;
            }
            TenantEvent::DomainRemoved { domain } => domain_removed(connection, tables, event, domain).await?,
            TenantEvent::MemberRemoved { user_id } => {
                member_removed(connection, tables, event, user_id.as_str()).await?
            }
            TenantEvent::Purged(_) => purged(connection, tables, event).await?,
            _ => {}
        }
    }
    let of_domains = |event: &RecordedEvent| {
        matches!(
            event.event,
            TenantEvent::DomainRegistered { .. }
                | TenantEvent::DomainRemoved { .. }
                | TenantEvent::PrimaryDomainChanged { .. }
        )
    };
    if events.iter().any(of_domains) {
        primary_domain(connection, tables, after).await?;
    }
    if created {
        insert_tenant(connection, tables, first.0, after).await?;
    } else {
        update_tenant(connection, tables, after).await?;
    }
    Ok(())
}

async fn snapshot(
    connection: &mut MySqlConnection,
    tables: &Tables,
    created: Option<u64>,
    after: &Tenant,
) -> Result<(), sqlx::Error> {
    let Tables { snapshots, .. } = tables;
    let json = serde_json::to_string(after).expect("a tenant is plain data");
    let query = if created.is_some() {
        format!(
            "INSERT INTO {snapshots} (position, version, status, plan_type, server_id, snapshot, tenant_id,
                                  created_position)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        )
    } else {
        format!(
            "UPDATE {snapshots} SET position = ?, version = ?, status = ?, plan_type = ?, server_id = ?, snapshot = ?
         WHERE tenant_id = ?"
        )
    };
    let mut query = sqlx::query(&query)
        .bind(after.position.0)
        .bind(after.version.0)
        .bind(after.status)
        .bind(&after.plan_type)
        // A purged tenant is on no server, because placement counts these rows.
        .bind(if after.state == TenantState::Purged { "" } else { &after.database.server })
        .bind(json)
        .bind(after.tenant_id.as_str());
    if let Some(position) = created {
        query = query.bind(position);
    }
    query.execute(connection).await.map(drop)
}

async fn insert_tenant(
    connection: &mut MySqlConnection,
    tables: &Tables,
    id: u64,
    after: &Tenant,
) -> Result<(), sqlx::Error> {
    let Tables { tenants, databases, .. } = tables;
    sqlx::query(&format!(
        "INSERT INTO {tenants} (id, tenant_id, tenant_name, tenant_domain, database_name, database_host, database_port,
                                   status, plan_type, created_at, updated_at, deleted)
         VALUES (?, ?, ?, ?, ?, NULL, NULL, ?, ?, ?, ?, 0)"
    ))
    .bind(id)
    .bind(after.tenant_id.as_str())
    .bind(&after.tenant_name)
    .bind(after.tenant_domain.as_ref().map(DomainName::as_str))
    .bind(&after.database.name)
    .bind(after.status)
    .bind(&after.plan_type)
    .bind(seconds(after.created_at.naive_utc()))
    .bind(seconds(after.updated_at.naive_utc()))
    .execute(&mut *connection)
    .await?;
    sqlx::query(&format!(
        "INSERT INTO {databases} (id, tenant_id, db_host, db_port, db_name, db_username, db_password_encrypted,
                                            max_connections, is_active, created_at, updated_at)
         VALUES (?, ?, '', 0, ?, '', '', ?, 0, ?, ?)"
    ))
    .bind(id)
    .bind(after.tenant_id.as_str())
    .bind(&after.database.name)
    .bind(after.database.max_connections)
    .bind(seconds(after.created_at.naive_utc()))
    .bind(seconds(after.updated_at.naive_utc()))
    .execute(connection)
    .await
    .map(drop)
}

async fn update_tenant(connection: &mut MySqlConnection, tables: &Tables, after: &Tenant) -> Result<(), sqlx::Error> {
    let Tables { tenants, databases, .. } = tables;
    let updated = seconds(after.updated_at.naive_utc());
    sqlx::query(&format!(
        "UPDATE {tenants} SET tenant_name = ?, tenant_domain = ?, database_host = ?, database_port = ?, status = ?,
                                 plan_type = ?, updated_at = ?, deleted = ? WHERE tenant_id = ?"
    ))
    .bind(&after.tenant_name)
    .bind(after.tenant_domain.as_ref().map(DomainName::as_str))
    .bind(&after.database.host)
    .bind(after.database.port)
    .bind(after.status)
    .bind(&after.plan_type)
    .bind(updated)
    .bind(matches!(after.state, TenantState::Deleted | TenantState::Purged))
    .bind(after.tenant_id.as_str())
    .execute(&mut *connection)
    .await?;
    sqlx::query(&format!(
        "UPDATE {databases} SET db_host = ?, db_port = ?, max_connections = ?, is_active = ?, updated_at = ?
         WHERE tenant_id = ?"
    ))
    .bind(after.database.host.as_deref().unwrap_or_default())
    .bind(after.database.port.unwrap_or_default())
    .bind(after.database.max_connections)
    .bind(after.database.host.is_some())
    .bind(updated)
    .bind(after.tenant_id.as_str())
    .execute(connection)
    .await
    .map(drop)
}

/// Under the lock of the head no other transaction appends, so it is enough to read which tenant has the domain.
async fn domain_registered(
    connection: &mut MySqlConnection,
    tables: &Tables,
    event: &RecordedEvent,
    domain: &DomainName,
) -> Result<(), CommandError> {
    let Tables { reservations, domains, .. } = tables;
    let holder: Option<(String, Option<NaiveDateTime>)> = sqlx::query_as(&format!(
        "SELECT tenant_id, held_until FROM {reservations} WHERE kind = 'domain' AND value = ?"
    ))
    .bind(domain.as_str())
    .fetch_optional(&mut *connection)
    .await?;
    if let Some((tenant_id, held_until)) = holder {
        let free = held_until.is_some_and(|until| until <= event.occurred_at.naive_utc());
        if tenant_id != event.tenant_id.as_str() && !free {
            return Err(CommandError::DomainTaken(domain.clone()));
        }
    }
    sqlx::query(&format!(
        "REPLACE INTO {reservations} (kind, value, tenant_id, held_until) VALUES ('domain', ?, ?, NULL)"
    ))
    .bind(domain.as_str())
    .bind(event.tenant_id.as_str())
    .execute(&mut *connection)
    .await?;
    sqlx::query(&format!("INSERT INTO {domains} (domain, tenant_id, is_primary, position) VALUES (?, ?, 0, ?)"))
        .bind(domain.as_str())
        .bind(event.tenant_id.as_str())
        .bind(event.position.0)
        .execute(&mut *connection)
        .await?;
    request_ended(connection, tables, event, domain).await?;
    Ok(())
}

async fn domain_requested(
    connection: &mut MySqlConnection,
    tables: &Tables,
    event: &RecordedEvent,
    domain: &DomainName,
    challenge: &str,
    valid_days: u32,
) -> Result<(), sqlx::Error> {
    let Tables { pending_domains, .. } = tables;
    sqlx::query(&format!(
        "INSERT INTO {pending_domains} (domain, tenant_id, challenge, expires_at, position) VALUES (?, ?, ?, ?, ?)"
    ))
    .bind(domain.as_str())
    .bind(event.tenant_id.as_str())
    .bind(challenge)
    .bind((event.occurred_at + TimeDelta::days(i64::from(valid_days))).naive_utc())
    .bind(event.position.0)
    .execute(connection)
    .await
    .map(drop)
}

/// Removes the tenant's request for a domain. Requests of other tenants for the same domain stay.
async fn request_ended(
    connection: &mut MySqlConnection,
    tables: &Tables,
    event: &RecordedEvent,
    domain: &DomainName,
) -> Result<(), sqlx::Error> {
    let Tables { pending_domains, .. } = tables;
    sqlx::query(&format!("DELETE FROM {pending_domains} WHERE domain = ? AND tenant_id = ?"))
        .bind(domain.as_str())
        .bind(event.tenant_id.as_str())
        .execute(connection)
        .await
        .map(drop)
}

async fn domain_removed(
    connection: &mut MySqlConnection,
    tables: &Tables,
    event: &RecordedEvent,
    domain: &DomainName,
) -> Result<(), sqlx::Error> {
    let Tables { reservations, domains, .. } = tables;
    sqlx::query(&format!("UPDATE {reservations} SET held_until = ? WHERE kind = 'domain' AND value = ?"))
        .bind((event.occurred_at + DOMAIN_REST).naive_utc())
        .bind(domain.as_str())
        .execute(&mut *connection)
        .await?;
    sqlx::query(&format!("DELETE FROM {domains} WHERE domain = ?"))
        .bind(domain.as_str())
        .execute(connection)
        .await
        .map(drop)
}

async fn primary_domain(connection: &mut MySqlConnection, tables: &Tables, after: &Tenant) -> Result<(), sqlx::Error> {
    let Tables { domains, .. } = tables;
    sqlx::query(&format!("UPDATE {domains} SET is_primary = (domain = ?) WHERE tenant_id = ?"))
        .bind(after.tenant_domain.as_ref().map_or("", DomainName::as_str))
        .bind(after.tenant_id.as_str())
        .execute(connection)
        .await
        .map(drop)
}

/// The most rows of members in one statement.
const MEMBERS_AT_ONCE: usize = 500;

/// The row of a `tenant.member_changed` event.
struct Member<'a> {
    event: &'a RecordedEvent,
    user_id: &'a str,
    role: &'static str,
    permissions: Option<String>,
}

impl<'a> Member<'a> {
    fn of(event: &'a RecordedEvent) -> Option<Self> {
        match &event.event {
            TenantEvent::MemberChanged { user_id, role, permissions } => Some(Self {
                event,
                user_id: user_id.as_str(),
                role: role.as_str(),
                permissions: permissions.as_ref().map(ToString::to_string),
            }),
            _ => None,
        }
    }
}

/// Writes the rows of members. The rows of one statement are written in order, so for a member that occurs twice the
/// later row counts.
async fn members_changed(
    connection: &mut MySqlConnection,
    tables: &Tables,
    members: &[Member<'_>],
) -> Result<(), sqlx::Error> {
    let mut insert = QueryBuilder::<MySql>::new(format!(
        "INSERT INTO {} (id, tenant_id, user_id, role, permissions, status, joined_at, created_at, updated_at,
                         deleted) ",
        tables.members
    ));
    insert.push_values(members, |mut row, member| {
        let now = seconds(member.event.occurred_at.naive_utc());
        row.push_bind(member.event.position.0)
            .push_bind(member.event.tenant_id.as_str())
            .push_bind(member.user_id)
            .push_bind(member.role)
            .push_bind(&member.permissions)
            .push("1")
            .push_bind(now)
            .push_bind(now)
            .push_bind(now)
            .push("0");
    });
    insert.push(
        " ON DUPLICATE KEY UPDATE role = VALUES(role), permissions = VALUES(permissions), status = 1,
          updated_at = VALUES(updated_at)",
    );
    insert.build().persistent(members.len() == 1).execute(connection).await.map(drop)
}

async fn member_removed(
    connection: &mut MySqlConnection,
    tables: &Tables,
    event: &RecordedEvent,
    user_id: &str,
) -> Result<(), sqlx::Error> {
    let Tables { members, .. } = tables;
    sqlx::query(&format!("DELETE FROM {members} WHERE tenant_id = ? AND user_key = ?"))
        .bind(event.tenant_id.as_str())
        .bind(user_id)
        .execute(connection)
        .await
        .map(drop)
}

/// Removes the members and the credential, and reserves the domains for a while. What remains is the tombstone.
async fn purged(connection: &mut MySqlConnection, tables: &Tables, event: &RecordedEvent) -> Result<(), sqlx::Error> {
    let Tables { reservations, domains, pending_domains, members, databases, .. } = tables;
    let tenant_id = event.tenant_id.as_str();
    sqlx::query(&format!(
        "UPDATE {reservations} SET held_until = ? WHERE kind = 'domain' AND tenant_id = ? AND held_until IS NULL"
    ))
    .bind((event.occurred_at + DOMAIN_REST).naive_utc())
    .bind(tenant_id)
    .execute(&mut *connection)
    .await?;
    for table in [domains, pending_domains, members, databases] {
        let delete = format!("DELETE FROM {table} WHERE tenant_id = ?");
        sqlx::query(&delete).bind(tenant_id).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Cuts a time to whole seconds, which the columns hold. The server would round it up into the future.
fn seconds(time: NaiveDateTime) -> NaiveDateTime {
    chrono::DurationRound::duration_trunc(time, TimeDelta::seconds(1)).unwrap_or(time)
}
