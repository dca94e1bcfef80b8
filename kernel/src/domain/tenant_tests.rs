//! Given events, when a command, then events: the aggregate's rules one by one.

use super::*;
use crate::domain::{Role, UserId};
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
fn nothing_is_possible_without_a_tenant() {
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
fn suspension_and_maintenance() {
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

#[test]
fn the_first_domain_is_primary_and_the_next_takes_its_place() {
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
fn wishes_that_change_nothing_append_nothing() {
    let given = given(&active());
    assert_eq!(given.when(Command::Rename { tenant_name: "Acme".into() }), Ok(vec![]));
    assert_eq!(given.when(Command::ChangePlan { plan_type: "basic".into() }), Ok(vec![]));
    assert_eq!(
        given.when(Command::Rename { tenant_name: "New".into() }),
        Ok(vec![TenantEvent::Renamed { tenant_name: "New".into() }])
    );
}

#[test]
fn members_do_not_touch_the_state() {
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
fn the_snapshot_is_the_public_tenant() {
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
