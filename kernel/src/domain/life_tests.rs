//! Compares the aggregate with an independent model of a tenant's life, on thousands of random sequences of commands.
//!
//! The model has states, names and domains, but no events. The snapshot and the log of the aggregate pass through JSON,
//! as in the store. For every command, both must accept or refuse alike, a refusal must change nothing, and the fold of
//! the whole log must be the state that was reached step by step.

use super::*;
use TenantState::*;
use chrono::{DateTime, TimeDelta};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::RefCell;
use std::collections::HashSet;
use std::mem::{Discriminant, discriminant};
use uuid::Uuid;

const SEQUENCES: u32 = 2000;
const LONGEST: usize = 40;

/// A tenant in the model; `None` before its creation.
#[derive(Clone, Debug, PartialEq)]
struct Model {
    state: TenantState,
    reason: Option<String>,
    /// The state before a deletion.
    interrupted: Option<(TenantState, Option<String>)>,
    name: String,
    plan: String,
    domains: Vec<DomainName>,
    primary: Option<DomainName>,
    pending: Vec<DomainName>,
    provisioned: bool,
    server: String,
    moving_to: Option<String>,
    schema: u32,
    events: u32,
}

/// The states in which a command is allowed. A new command must be added here and to the samples below.
fn allowed(command: &Command) -> &'static [TenantState] {
    const ALIVE: &[TenantState] = &[Provisioning, Active, Suspended, Maintenance, Failed];
    match command {
        Command::Create { .. } => &[],
        Command::CompleteProvisioning { .. } | Command::FailProvisioning { .. } => &[Provisioning, Failed],
        Command::Retry => &[Failed],
        Command::RegisterDomain { .. } | Command::RemoveDomain { .. } | Command::ChangePrimaryDomain { .. } => ALIVE,
        Command::RequestDomain { .. } => ALIVE,
        Command::ExpireDomainRequest { .. } => &[Provisioning, Active, Suspended, Maintenance, Failed, Deleted],
        Command::Rename { .. } | Command::ChangePlan { .. } => ALIVE,
        Command::ChangeMember { .. } | Command::RemoveMember { .. } => ALIVE,
        Command::Suspend { .. } => &[Active, Maintenance],
        Command::Resume => &[Suspended],
        Command::SetMaintenance { enabled: true } => &[Active],
        Command::SetMaintenance { enabled: false } => &[Maintenance],
        Command::ChangeConfig { .. } => &[Active, Suspended, Maintenance],
        Command::RotateDatabase | Command::CompleteRotation { .. } => &[Active, Maintenance],
        Command::CompleteRestore { .. } => &[Active, Suspended, Maintenance, Deleted],
        Command::CompleteProvisioningFromBackup { .. } => &[Provisioning, Failed],
        Command::MoveDatabase { .. } => &[Active, Suspended, Maintenance],
        Command::StartMove { .. } | Command::CompleteMove { .. } => &[Active, Suspended, Maintenance, Deleted],
        Command::MigrateSchema | Command::CompleteSchemaMigration { .. } => &[Active, Suspended, Maintenance, Deleted],
        Command::CancelMove => &TenantState::ALL,
        Command::RecordRepairs { .. } => &TenantState::ALL,
        Command::Delete { .. } => &[Active, Suspended, Maintenance, Failed],
        Command::Restore => &[Deleted],
        Command::Purge | Command::CompletePurge { .. } => &[Deleted, Failed],
    }
}

/// The next state of the model.
fn step(now: Option<&Model>, command: &Command) -> Result<Model, Rejection> {
    let Some(now) = now else {
        let Command::Create { tenant_name, domain, plan_type, server, .. } = command else {
            return Err(Rejection::NotFound);
        };
        return Ok(Model {
            state: Provisioning,
            reason: None,
            interrupted: None,
            name: tenant_name.clone(),
            plan: plan_type.clone(),
            domains: domain.iter().cloned().collect(),
            primary: domain.clone(),
            pending: Vec::new(),
            provisioned: false,
            server: server.clone(),
            moving_to: None,
            schema: 0,
            events: 1 + u32::from(domain.is_some()),
        });
    };
    if matches!(command, Command::Create { .. }) {
        return Err(Rejection::Exists);
    }
    if !allowed(command).contains(&now.state) {
        return Err(Rejection::State(now.state));
    }
    let mut next = Model { events: now.events + 1, ..now.clone() };
    let mut enter = |state, reason: Option<&String>| (next.state, next.reason) = (state, reason.cloned());
    match command {
        Command::CompleteProvisioning { server, schema_version, .. } => {
            enter(Active, None);
            next.schema = *schema_version;
            (next.provisioned, next.events) = (true, now.events + 2);
            next.server.clone_from(server);
        }
        Command::StartMove { .. } | Command::CompleteMove { .. } if !now.provisioned => {
            return Err(Rejection::State(now.state));
        }
        Command::MigrateSchema | Command::CompleteSchemaMigration { .. } if !now.provisioned => {
            return Err(Rejection::State(now.state));
        }
        Command::CompleteSchemaMigration { schema_version } => {
            next.events = now.events + u32::from(now.schema != *schema_version);
            next.schema = *schema_version;
        }
        Command::MoveDatabase { server } if *server == now.server => return Err(Rejection::ServerPresent),
        Command::MoveDatabase { .. } => {}
        Command::StartMove { server } => match now.moving_to {
            Some(_) => next.events = now.events,
            None => next.moving_to = Some(server.clone()),
        },
        Command::CancelMove => match next.moving_to.take() {
            Some(_) => {}
            None => next.events = now.events,
        },
        Command::CompleteMove { server, .. } => {
            next.server.clone_from(server);
            next.moving_to = None;
        }
        Command::CompleteProvisioningFromBackup { from, .. } => {
            enter(Active, None);
            next.schema = from.schema_version;
            (next.provisioned, next.events) = (true, now.events + 3);
        }
        Command::CompleteRestore { from, end_maintenance: true } if now.state == Maintenance => {
            enter(Active, None);
            next.schema = from.schema_version;
            next.events = now.events + 2;
        }
        Command::CompleteRestore { from, .. } => next.schema = from.schema_version,
        Command::FailProvisioning { reason } => enter(Failed, Some(reason)),
        Command::Suspend { reason } => enter(Suspended, Some(reason)),
        Command::Resume | Command::SetMaintenance { enabled: false } => enter(Active, None),
        Command::SetMaintenance { enabled: true } => enter(Maintenance, None),
        Command::Delete { reason, .. } => {
            enter(Deleted, reason.as_ref());
            next.interrupted = Some((now.state, now.reason.clone()));
        }
        Command::Restore => {
            let (state, reason) = next.interrupted.take().expect("a deletion interrupts something");
            (next.state, next.reason) = (state, reason);
        }
        Command::CompletePurge { .. } => {
            enter(Purged, None);
            (next.interrupted, next.provisioned, next.schema) = (None, false, 0);
            (next.domains, next.primary, next.pending) = (Vec::new(), None, Vec::new());
        }
        Command::Retry | Command::Purge | Command::MigrateSchema => next.events = now.events,
        Command::RecordRepairs { repairs } => next.events = now.events + u32::from(!repairs.is_empty()),
        Command::Rename { tenant_name } if *tenant_name == now.name => next.events = now.events,
        Command::Rename { tenant_name } => next.name.clone_from(tenant_name),
        Command::ChangePlan { plan_type } if *plan_type == now.plan => next.events = now.events,
        Command::ChangePlan { plan_type } => next.plan.clone_from(plan_type),
        Command::RegisterDomain { domain } => {
            if now.domains.contains(domain) {
                return Err(Rejection::DomainPresent);
            }
            next.domains.push(domain.clone());
            next.pending.retain(|other| other != domain);
            next.primary = now.primary.clone().or_else(|| Some(domain.clone()));
        }
        Command::RequestDomain { domain, .. } => {
            if now.domains.contains(domain) {
                return Err(Rejection::DomainPresent);
            }
            if now.pending.contains(domain) {
                next.events = now.events;
            } else {
                next.pending.push(domain.clone());
            }
        }
        Command::ExpireDomainRequest { domain } => {
            if !now.pending.contains(domain) {
                return Err(Rejection::DomainAbsent);
            }
            next.pending.retain(|other| other != domain);
        }
        Command::RemoveDomain { domain } if now.pending.contains(domain) => {
            next.pending.retain(|other| other != domain);
        }
        Command::RemoveDomain { domain } => {
            if !now.domains.contains(domain) {
                return Err(Rejection::DomainAbsent);
            }
            next.domains.retain(|other| other != domain);
            if now.primary.as_ref() == Some(domain) {
                next.primary = next.domains.first().cloned();
            }
        }
        Command::ChangePrimaryDomain { domain } => {
            if !now.domains.contains(domain) {
                return Err(Rejection::DomainAbsent);
            }
            next.events = now.events + u32::from(now.primary.as_ref() != Some(domain));
            next.primary = Some(domain.clone());
        }
        Command::Create { .. }
        | Command::ChangeMember { .. }
        | Command::RemoveMember { .. }
        | Command::ChangeConfig { .. }
        | Command::RotateDatabase
        | Command::CompleteRotation { .. } => {}
    }
    Ok(next)
}

/// A tenant with its log, as the store has them.
#[derive(Default)]
struct Life {
    present: Option<Tenant>,
    log: Vec<RecordedEvent>,
}

impl Life {
    fn record(&mut self, event: TenantEvent) {
        let number = self.log.len() as u32 + 1;
        let recorded = RecordedEvent {
            // Events of other tenants lie between the events of this one.
            position: Position(u64::from(number) * 3),
            tenant_id: id(),
            version: Version(number),
            event_id: Uuid::nil(),
            occurred_at: DateTime::UNIX_EPOCH + TimeDelta::seconds(i64::from(number)),
            actor: "test".into(),
            event,
        };
        let next = Tenant::apply(self.present.take(), &recorded);
        self.present = Some(through_json(&next));
        self.log.push(through_json(&recorded));
    }

    fn folded(&self) -> Option<Tenant> {
        self.log.iter().fold(None, |now, recorded| Some(Tenant::apply(now, recorded)))
    }
}

fn through_json<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

fn view(tenant: &Tenant) -> Model {
    Model {
        state: tenant.state,
        reason: tenant.reason.clone(),
        interrupted: tenant.before_deletion.as_ref().map(|before| (before.state, before.reason.clone())),
        name: tenant.tenant_name.clone(),
        plan: tenant.plan_type.clone(),
        domains: tenant.domains.clone(),
        primary: tenant.tenant_domain.clone(),
        pending: tenant.pending_domains.iter().map(|pending| pending.domain.clone()).collect(),
        provisioned: tenant.database.host.is_some(),
        server: tenant.database.server.clone(),
        moving_to: tenant.database.moving_to.clone(),
        schema: tenant.database.schema_version,
        events: tenant.version.0,
    }
}

fn id() -> TenantId {
    "acme".parse().unwrap()
}

fn domain() -> impl Strategy<Value = DomainName> {
    (0..3_u8).prop_map(|number| format!("d{number}.example.com").parse().unwrap())
}

fn server() -> impl Strategy<Value = String> {
    any::<bool>().prop_map(|other| if other { "eu2".into() } else { "main".into() })
}

/// One of a few words, so that the same word occurs again.
fn word() -> impl Strategy<Value = String> {
    (0..3_u8).prop_map(|number| format!("word {number}"))
}

fn command() -> impl Strategy<Value = Command> {
    let user: UserId = Uuid::from_u128(7).to_string().parse().unwrap();
    let member = Command::ChangeMember { user_id: user.clone(), role: Role::Viewer, permissions: None };
    let certificate = DeletionCertificate {
        database: "d".into(),
        user: "u".into(),
        server: "main".into(),
        removed_at: DateTime::UNIX_EPOCH,
        checks: vec!["gone".into()],
    };
    let [drift, subject, found, done] = ["drift", "it", "was so", "made right"].map(String::from);
    let from = RestoredFrom {
        backup_id: "b1".into(),
        source_tenant_id: id(),
        taken_at: DateTime::UNIX_EPOCH,
        backup_position: Position(1),
        schema_version: 1,
    };
    let provisioned_from = from.clone();
    let repair = Repair { drift, subject, found, done };
    prop_oneof![
        (word(), proptest::option::of(domain())).prop_map(|(word, domain)| Command::Create {
            tenant_name: word.clone(),
            domain,
            plan_type: word,
            server: "main".into(),
            max_connections: 5,
        }),
        Just(Command::CompleteProvisioning {
            server: "main".into(),
            host: "db1".into(),
            port: 3306,
            schema_version: 1,
        }),
        word().prop_map(|reason| Command::FailProvisioning { reason }),
        Just(Command::Retry),
        domain().prop_map(|domain| Command::RegisterDomain { domain }),
        (domain(), word(), 1..9_u32).prop_map(|(domain, challenge, valid_days)| Command::RequestDomain {
            domain,
            challenge,
            valid_days,
        }),
        domain().prop_map(|domain| Command::ExpireDomainRequest { domain }),
        domain().prop_map(|domain| Command::RemoveDomain { domain }),
        domain().prop_map(|domain| Command::ChangePrimaryDomain { domain }),
        word().prop_map(|reason| Command::Suspend { reason }),
        Just(Command::Resume),
        any::<bool>().prop_map(|enabled| Command::SetMaintenance { enabled }),
        word().prop_map(|tenant_name| Command::Rename { tenant_name }),
        word().prop_map(|plan_type| Command::ChangePlan { plan_type }),
        Just(member),
        Just(Command::RemoveMember { user_id: user }),
        word().prop_map(|value| Command::ChangeConfig {
            key: "tenant.word".parse().unwrap(),
            kind: Some(SettingType::String),
            value: Some(value.into()),
            secret: false,
        }),
        Just(Command::RotateDatabase),
        word().prop_map(|username| Command::CompleteRotation { username }),
        server().prop_map(|server| Command::MoveDatabase { server }),
        server().prop_map(|server| Command::StartMove { server }),
        Just(Command::CancelMove),
        server().prop_map(|server| Command::CompleteMove { server, host: "db2".into(), port: 3307 }),
        Just(Command::MigrateSchema),
        (1..4_u32).prop_map(|schema_version| Command::CompleteSchemaMigration { schema_version }),
        (proptest::option::of(word()), 0..60_u32)
            .prop_map(|(reason, retention_days)| Command::Delete { reason, retention_days }),
        any::<bool>().prop_map(move |end_maintenance| Command::CompleteRestore { from: from.clone(), end_maintenance }),
        Just(Command::CompleteProvisioningFromBackup {
            server: "main".into(),
            host: "db1".into(),
            port: 3306,
            from: provisioned_from,
        }),
        (0..3_usize).prop_map(move |number| Command::RecordRepairs { repairs: vec![repair.clone(); number] }),
        Just(Command::Restore),
        Just(Command::Purge),
        Just(Command::CompletePurge { certificate }),
    ]
}

/// Which commands occurred, and in which state.
type Met = HashSet<(Option<TenantState>, Discriminant<Command>)>;

fn live(commands: Vec<Command>, met: &mut Met) -> Result<(), TestCaseError> {
    let (mut life, mut model) = (Life::default(), None::<Model>);
    for command in commands {
        met.insert((model.as_ref().map(|model| model.state), discriminant(&command)));
        let expected = step(model.as_ref(), &command);
        let decided = Tenant::decide(&id(), life.present.as_ref(), command.clone());
        match (expected, decided) {
            (Err(expected), Err(rejection)) => prop_assert_eq!(expected, rejection, "{:?}", command),
            (Ok(expected), Ok(events)) => {
                for event in events {
                    let serialised = serde_json::to_value(&event).unwrap();
                    prop_assert_eq!(&serialised["type"], event.kind(), "an event has two names");
                    life.record(event);
                }
                let tenant = life.present.as_ref().unwrap();
                prop_assert_eq!(&expected, &view(tenant), "{:?}", command);
                prop_assert_eq!(tenant.status, tenant.state.status());
                prop_assert_eq!(tenant.purge_after.is_some(), tenant.state == Deleted);
                prop_assert_eq!(tenant.deleted_at.is_some(), matches!(tenant.state, Deleted | Purged));
                model = Some(expected);
            }
            (expected, decided) => prop_assert!(false, "{command:?}: {expected:?}, but {decided:?}"),
        }
    }
    prop_assert_eq!(&life.folded(), &life.present, "the log says something else than the snapshot");
    Ok(())
}

#[test]
fn every_sequence_of_commands_agrees_with_the_model() {
    let met = RefCell::new(Met::new());
    let config = Config { cases: SEQUENCES, failure_persistence: None, ..Config::default() };
    let ran = TestRunner::new(config)
        .run(&proptest::collection::vec(command(), 1..LONGEST), |commands| live(commands, &mut met.borrow_mut()));
    ran.unwrap_or_else(|found| panic!("{found}"));
    let met = met.into_inner();
    let commands: HashSet<_> = met.iter().map(|(_, command)| *command).collect();
    assert_eq!(met.len(), (TenantState::ALL.len() + 1) * commands.len(), "not every command was met in every state");
}
