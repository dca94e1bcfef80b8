//! The rules of the aggregate one by one: given some events, when a command comes, then these events follow.

use super::*;
use crate::domain::{Command, DeletionCertificate, Rejection, Role, UserId, Version};
use uuid::Uuid;

struct Given(Option<Tenant>, u32);

fn given(events: &[TenantEvent]) -> Given {
    let mut given = Given(None, 0);
    for event in events {
        given.record(event.clone());
    }
    given
}

impl Given {
    fn record(&mut self, event: TenantEvent) {
        self.1 += 1;
        let recorded = RecordedEvent {
            position: Position(100 + u64::from(self.1)),
            tenant_id: id(),
            version: Version(self.1),
            event_id: Uuid::nil(),
            occurred_at: DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(i64::from(self.1)),
            actor: "test".into(),
            event,
        };
        self.0 = Some(Tenant::apply(self.0.take(), &recorded));
    }

    fn when(&self, command: Command) -> Result<Vec<TenantEvent>, Rejection> {
        Tenant::decide(&id(), self.0.as_ref(), command)
    }

    fn tenant(&self) -> &Tenant {
        self.0.as_ref().unwrap()
    }
}

fn id() -> TenantId {
    "acme".parse().unwrap()
}

fn domain(name: &str) -> DomainName {
    name.parse().unwrap()
}

fn created() -> TenantEvent {
    TenantEvent::Created {
        tenant_name: "Acme".into(),
        plan_type: "basic".into(),
        server: "main".into(),
        database_name: "ai_shifu_tenant_acme".into(),
        max_connections: 50,
    }
}

fn provisioned() -> TenantEvent {
    TenantEvent::DatabaseProvisioned { server: "main".into(), host: "db1".into(), port: 3306, schema_version: 1 }
}

fn active() -> Vec<TenantEvent> {
    vec![created(), provisioned(), TenantEvent::Activated {}]
}

fn create(domain: Option<DomainName>) -> Command {
    Command::Create {
        tenant_name: "Acme".into(),
        domain,
        plan_type: "basic".into(),
        server: "main".into(),
        max_connections: 50,
    }
}

fn complete() -> Command {
    Command::CompleteProvisioning { server: "main".into(), host: "db1".into(), port: 3306, schema_version: 1 }
}

fn suspend() -> Command {
    Command::Suspend { reason: "unpaid".into() }
}

#[test]
fn creation_begins_the_stream_with_its_first_domain() {
    assert_eq!(given(&[]).when(create(None)), Ok(vec![created()]));
    assert_eq!(
        given(&[]).when(create(Some(domain("a.example.com")))),
        Ok(vec![created(), TenantEvent::DomainRegistered { domain: domain("a.example.com"), primary: true }])
    );
    assert_eq!(given(&[created()]).when(create(None)), Err(Rejection::Exists));
}

#[test]
fn a_requested_domain_serves_once_it_is_proven() {
    let name = domain("a.example.com");
    let request =
        |challenge: &str| Command::RequestDomain { domain: name.clone(), challenge: challenge.into(), valid_days: 7 };
    let requested = TenantEvent::DomainRequested { domain: name.clone(), challenge: "first".into(), valid_days: 7 };
    let mut given = given(&active());
    assert_eq!(given.when(request("first")), Ok(vec![requested.clone()]));
    given.record(requested);
    assert_eq!(given.when(request("second")), Ok(vec![]), "the first record stays the right one");
    let pending = given.tenant().pending_domain(&name).cloned().unwrap();
    assert_eq!(pending.expires_at - pending.requested_at, chrono::TimeDelta::days(7));
    assert!(given.tenant().domains.is_empty());
    let withdrawn = TenantEvent::DomainRequestWithdrawn { domain: name.clone() };
    assert_eq!(given.when(Command::RemoveDomain { domain: name.clone() }), Ok(vec![withdrawn]));
    let expired = TenantEvent::DomainRequestExpired { domain: name.clone() };
    assert_eq!(given.when(Command::ExpireDomainRequest { domain: name.clone() }), Ok(vec![expired]));

    let registered = TenantEvent::DomainRegistered { domain: name.clone(), primary: true };
    assert_eq!(given.when(Command::RegisterDomain { domain: name.clone() }), Ok(vec![registered.clone()]));
    given.record(registered);
    assert!(given.tenant().pending_domains.is_empty());
    assert_eq!(given.tenant().tenant_domain.as_ref(), Some(&name));
    assert_eq!(given.when(request("third")), Err(Rejection::DomainPresent));
    assert_eq!(given.when(Command::ExpireDomainRequest { domain: name }), Err(Rejection::DomainAbsent));
}

#[test]
fn every_command_but_create_needs_a_tenant() {
    for command in [complete(), suspend(), Command::Resume, Command::Retry] {
        assert_eq!(given(&[]).when(command), Err(Rejection::NotFound));
    }
}

#[test]
fn provisioning_ends_active_or_failed() {
    assert_eq!(given(&[created()]).when(complete()), Ok(vec![provisioned(), TenantEvent::Activated {}]));
    let failed = TenantEvent::ProvisioningFailed { reason: "disk full".into() };
    assert_eq!(
        given(&[created()]).when(Command::FailProvisioning { reason: "disk full".into() }),
        Ok(vec![failed.clone()])
    );
    let given = given(&[created(), failed]);
    assert_eq!(given.tenant().state, TenantState::Failed);
    assert_eq!(given.tenant().reason.as_deref(), Some("disk full"));
    assert_eq!(given.when(Command::Retry), Ok(vec![]));
    assert_eq!(given.when(complete()), Ok(vec![provisioned(), TenantEvent::Activated {}]));
}

#[test]
fn an_active_tenant_is_not_provisioned_again() {
    let given = given(&active());
    assert_eq!(given.when(complete()), Err(Rejection::State(TenantState::Active)));
    assert_eq!(given.when(Command::Retry), Err(Rejection::State(TenantState::Active)));
}

#[test]
fn suspension_and_maintenance_begin_and_end() {
    let mut given = given(&active());
    assert_eq!(given.when(Command::Resume), Err(Rejection::State(TenantState::Active)));
    given.record(TenantEvent::MaintenanceStarted {});
    assert_eq!((given.tenant().state, given.tenant().status), (TenantState::Maintenance, 2));
    given.record(given.when(suspend()).unwrap().remove(0));
    assert_eq!((given.tenant().state, given.tenant().status), (TenantState::Suspended, 0));
    assert_eq!(given.tenant().reason.as_deref(), Some("unpaid"));
    assert_eq!(given.when(suspend()), Err(Rejection::State(TenantState::Suspended)));
    assert_eq!(given.when(Command::SetMaintenance { enabled: true }), Err(Rejection::State(TenantState::Suspended)));
    given.record(given.when(Command::Resume).unwrap().remove(0));
    assert_eq!((given.tenant().state, given.tenant().reason.clone()), (TenantState::Active, None));
}

fn delete() -> Command {
    Command::Delete { reason: Some("left us".into()), retention_days: 30 }
}

fn certificate() -> DeletionCertificate {
    DeletionCertificate {
        database: "ai_shifu_tenant_acme".into(),
        user: "ten_0_a".into(),
        server: "main".into(),
        removed_at: DateTime::UNIX_EPOCH,
        checks: vec!["the database is not there".into()],
    }
}

#[test]
fn a_deleted_tenant_is_restored_as_it_was() {
    let mut given = given(&active());
    given.record(TenantEvent::Suspended { reason: "unpaid".into() });
    let before = given.tenant().clone();
    given.record(given.when(delete()).unwrap().remove(0));
    let deleted = given.tenant();
    assert_eq!((deleted.state, deleted.status, deleted.reason.as_deref()), (TenantState::Deleted, 0, Some("left us")));
    assert_eq!(deleted.purge_after.unwrap() - deleted.deleted_at.unwrap(), chrono::TimeDelta::days(30));
    assert_eq!(given.when(delete()), Err(Rejection::State(TenantState::Deleted)));
    assert_eq!(given.when(Command::Resume), Err(Rejection::State(TenantState::Deleted)));
    let rename = Command::Rename { tenant_name: "Acme".into() };
    assert_eq!(given.when(rename), Err(Rejection::State(TenantState::Deleted)));
    given.record(given.when(Command::Restore).unwrap().remove(0));
    let after = given.tenant().clone();
    assert_eq!(
        Tenant { version: before.version, position: before.position, updated_at: before.updated_at, ..after },
        before
    );
    assert_eq!(given.when(Command::Restore), Err(Rejection::State(TenantState::Suspended)));
}

#[test]
fn a_tenant_in_provisioning_is_not_deleted() {
    assert_eq!(given(&[created()]).when(delete()), Err(Rejection::State(TenantState::Provisioning)));
}

#[test]
fn a_credential_is_rotated_while_it_is_in_use() {
    let complete = || Command::CompleteRotation { username: "ten_0_b".into() };
    let mut given = given(&active());
    assert_eq!(given.when(Command::RotateDatabase), Ok(vec![TenantEvent::DatabaseRotationRequested {}]));
    let rotated = TenantEvent::DatabaseRotated { username: "ten_0_b".into() };
    assert_eq!(given.when(complete()), Ok(vec![rotated]));
    given.record(TenantEvent::Suspended { reason: "unpaid".into() });
    for command in [Command::RotateDatabase, complete()] {
        assert_eq!(given.when(command), Err(Rejection::State(TenantState::Suspended)));
    }
}

#[test]
fn only_a_deleted_or_failed_tenant_is_purged() {
    assert_eq!(given(&active()).when(Command::Purge), Err(Rejection::State(TenantState::Active)));
    let failed = given(&[created(), TenantEvent::ProvisioningFailed { reason: "x".into() }]);
    assert_eq!(failed.when(Command::Purge), Ok(vec![]));
    let mut given = given(&active());
    given.record(TenantEvent::DomainRegistered { domain: domain("a.example.com"), primary: true });
    given.record(TenantEvent::Deleted { reason: None, retention_days: 30 });
    assert_eq!(given.when(Command::Purge), Ok(vec![]));
    assert_eq!(
        given.when(Command::CompletePurge { certificate: certificate() }),
        Ok(vec![TenantEvent::Purged(certificate())])
    );
}

#[test]
fn a_purged_tenant_is_a_tombstone() {
    let mut given = given(&active());
    given.record(TenantEvent::DomainRegistered { domain: domain("a.example.com"), primary: true });
    given.record(TenantEvent::Deleted { reason: None, retention_days: 30 });
    given.record(TenantEvent::Purged(certificate()));
    let purged = given.tenant();
    assert_eq!((purged.state, purged.status, purged.tenant_domain.clone()), (TenantState::Purged, 0, None));
    assert!(purged.domains.is_empty() && purged.database.host.is_none() && purged.purge_after.is_none());
    assert_eq!(given.when(create(None)), Err(Rejection::Exists));
    let user_id: UserId = "u1".parse().unwrap();
    let member = Command::ChangeMember { user_id, role: Role::User, permissions: None };
    let domain = Command::RegisterDomain { domain: domain("a.example.com") };
    for command in [Command::Restore, Command::Purge, Command::Resume, Command::Retry, delete(), member, domain] {
        assert_eq!(given.when(command), Err(Rejection::State(TenantState::Purged)));
    }
}

#[test]
fn the_next_domain_replaces_a_removed_primary_one() {
    let mut given = given(&active());
    for name in ["a.example.com", "b.example.com"] {
        given.record(given.when(Command::RegisterDomain { domain: domain(name) }).unwrap().remove(0));
    }
    assert_eq!(given.tenant().tenant_domain, Some(domain("a.example.com")));
    assert_eq!(given.when(Command::RegisterDomain { domain: domain("b.example.com") }), Err(Rejection::DomainPresent));
    given.record(given.when(Command::RemoveDomain { domain: domain("a.example.com") }).unwrap().remove(0));
    assert_eq!(given.tenant().tenant_domain, Some(domain("b.example.com")));
    assert_eq!(given.when(Command::RemoveDomain { domain: domain("a.example.com") }), Err(Rejection::DomainAbsent));
}

#[test]
fn any_domain_of_the_tenant_can_become_primary() {
    let mut given = given(&active());
    for name in ["a.example.com", "b.example.com", "c.example.com"] {
        given.record(given.when(Command::RegisterDomain { domain: domain(name) }).unwrap().remove(0));
    }
    let primary = |name: &str| Command::ChangePrimaryDomain { domain: domain(name) };
    assert_eq!(given.when(primary("a.example.com")), Ok(vec![]));
    assert_eq!(given.when(primary("other.example.com")), Err(Rejection::DomainAbsent));
    given.record(given.when(primary("c.example.com")).unwrap().remove(0));
    assert_eq!(given.tenant().tenant_domain, Some(domain("c.example.com")));
    given.record(given.when(Command::RemoveDomain { domain: domain("c.example.com") }).unwrap().remove(0));
    assert_eq!(given.tenant().tenant_domain, Some(domain("a.example.com")));
}

#[test]
fn a_command_that_changes_nothing_appends_nothing() {
    let given = given(&active());
    assert_eq!(given.when(Command::Rename { tenant_name: "Acme".into() }), Ok(vec![]));
    assert_eq!(given.when(Command::ChangePlan { plan_type: "basic".into() }), Ok(vec![]));
    assert_eq!(
        given.when(Command::Rename { tenant_name: "New".into() }),
        Ok(vec![TenantEvent::Renamed { tenant_name: "New".into() }])
    );
}

#[test]
fn members_do_not_change_the_state() {
    let mut given = given(&active());
    let before = given.tenant().clone();
    let user_id: UserId = "u1".parse().unwrap();
    given.record(TenantEvent::MemberChanged { user_id, role: Role::Admin, permissions: None });
    let after = given.tenant();
    assert_eq!(after.version, Version(4));
    assert_eq!(
        Tenant { version: before.version, position: before.position, updated_at: before.updated_at, ..after.clone() },
        before
    );
}

#[test]
fn a_snapshot_serialises_as_the_public_tenant() {
    let json = serde_json::to_value(given(&active()).tenant()).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "tenant_id": "acme", "tenant_name": "Acme", "tenant_domain": null, "domains": [],
            "status": 1, "state": "active", "plan_type": "basic",
            "database": {"server": "main", "host": "db1", "port": 3306, "name": "ai_shifu_tenant_acme",
                         "max_connections": 50, "schema_version": 1},
            "version": 3, "position": 103,
            "created_at": "1970-01-01T00:00:01Z", "updated_at": "1970-01-01T00:00:03Z",
        })
    );
}
