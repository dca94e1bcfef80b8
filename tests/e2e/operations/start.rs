//! A service that cannot start names the setting at fault and exits with code 1 in bounded time.

use crate::invariants;
use crate::world;
use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt};
use harness::servers::handshake::Handshake;
use harness::stack::Stack;
use harness::stack::{Env, Role};
use sqlx::Executor;
use std::time::{Duration, Instant};

/// A service tries each server for 5 s and may wait 5 s more for its silence. The rest is for a busy machine.
const BOUND: Duration = Duration::from_secs(30);

/// The change, and the words that the error must contain.
type Case = (Role, &'static str, Env, &'static [&'static str]);

const CONTROL: Role = Role::ControlPlane;
const WORKER: Role = Role::Provisioner;
const NODE: Role = Role::DataPlane;

#[tokio::test]
async fn a_start_names_the_setting_at_fault() -> Result<()> {
    let mut options = world::without_nodes("start")?;
    // A binary log of statements is incompatible with READ COMMITTED.
    options.mariadb.extra = vec!["--log-bin".into(), "--binlog-format=MIXED".into(), "--server-id=1".into()];
    let stack = Stack::start_servers(options).await?;
    let set = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let urls = &stack.urls;
    let wrong_password = |url: &str| {
        let mut url = url::Url::parse(url).expect("a URL");
        url.set_password(Some("hunter2")).expect("it has a host");
        url.to_string()
    };
    let nowhere = |url: &str| {
        let mut url = url::Url::parse(url).expect("a URL");
        url.set_port(Some(1)).expect("it has a host");
        url.to_string()
    };
    let (old, older) = (Handshake::start("5.7.44-log").await?, Handshake::start("10.3.39-MariaDB").await?);
    let system = "ai_shifu_system";

    let mut cases: Vec<Case> = Vec::new();
    for role in Role::ALL {
        for name in ["SYSTEM_DB_URL", "AMQP_URL", "ENCRYPTION_KEYS"] {
            let words: &[&str] = match name {
                "SYSTEM_DB_URL" => &["SYSTEM_DB_URL", "missing"],
                "AMQP_URL" => &["AMQP_URL", "missing"],
                _ => &["ENCRYPTION_KEYS", "missing"],
            };
            cases.push((role, "serve", set(name, ""), words));
        }
        let of_role = match role {
            Role::ControlPlane => &urls.system.control,
            Role::Provisioner => &urls.system.provisioner_system,
            Role::DataPlane => &urls.system.node,
        };
        cases.extend([
            (
                role,
                "serve",
                set("SYSTEM_DB_URL", &wrong_password(of_role)),
                &["SYSTEM_DB_URL", "refuses the account"][..],
            ),
            (role, "serve", set("SYSTEM_DB_URL", &nowhere(of_role)), &["SYSTEM_DB_URL", "cannot be reached"]),
            (role, "serve", set("SYSTEM_DB_URL", &old.url(system)), &["SYSTEM_DB_URL", "5.7.44", "too old"]),
            (role, "serve", set("AMQP_URL", &wrong_password(&urls.amqp)), &["AMQP_URL", "refuses the account"]),
            (role, "serve", set("AMQP_URL", &nowhere(&urls.amqp)), &["AMQP_URL", "cannot be reached"]),
            (role, "serve", set("ENCRYPTION_KEYS", "k1:short"), &["ENCRYPTION_KEYS", "wrong"]),
            (role, "serve", set("SYSTEM_DB_URL_FILE", "/nonexistent"), &["SYSTEM_DB_URL_FILE", "cannot be read"]),
        ]);
    }
    let no_tls = vec![("SYSTEM_DB_URL".to_owned(), old.url(system)), ("TLS_CA".to_owned(), authority()?)];
    cases.extend([
        (WORKER, "serve", set("TENANT_DB_ADMIN_URL", ""), &["TENANT_DB_ADMIN_URL", "missing"][..]),
        (
            WORKER,
            "serve",
            set("TENANT_DB_ADMIN_URL", &wrong_password(&urls.system.tenant_admin)),
            &["TENANT_DB_ADMIN_URL", "refuses the account"],
        ),
        (
            WORKER,
            "serve",
            set("TENANT_DB_ADMIN_URL", &nowhere(&urls.system.tenant_admin)),
            &["TENANT_DB_ADMIN_URL", "cannot be reached"],
        ),
        (
            WORKER,
            "serve",
            set("TENANT_DB_ADMIN_URL_EU2", &older.url("")),
            &["TENANT_DB_ADMIN_URL_EU2", "10.3.39", "too old"],
        ),
        (CONTROL, "migrate", set("SYSTEM_DB_URL", &older.url(system)), &["SYSTEM_DB_URL", "10.3.39", "too old"]),
        (CONTROL, "migrate", no_tls, &["SYSTEM_DB_URL", "offers no TLS"]),
        (
            CONTROL,
            "serve",
            set("SYSTEM_DB_URL", &(urls.system.control.clone() + "_not")),
            &["SYSTEM_DB_URL", "no database with the name"],
        ),
        (NODE, "serve", set("REDIS_URL", "http://127.0.0.1"), &["REDIS_URL", "redis://"]),
        (
            NODE,
            "serve",
            set("LEGACY_SECRET_KEY", "x").into_iter().chain(set("REDIS_URL", "")).collect(),
            &["LEGACY_SECRET_KEY", "REDIS_URL"],
        ),
    ]);
    // Most of the time is spent waiting for missing servers.
    let each = futures::stream::iter(&cases).map(|case| refused(&stack, case)).buffer_unordered(6);
    each.try_collect::<()>().await?;

    // A service checks at each start what the server can do.
    let mut root = world::root(&stack).await?;
    for (off, on, words) in [
        (
            "SET GLOBAL binlog_format = 'STATEMENT'",
            "SET GLOBAL binlog_format = 'MIXED'",
            &["SYSTEM_DB_URL", "binlog_format"][..],
        ),
        ("SET GLOBAL read_only = 1", "SET GLOBAL read_only = 0", &["SYSTEM_DB_URL", "read only"]),
        (
            "SET GLOBAL default_storage_engine = 'MyISAM'",
            "SET GLOBAL default_storage_engine = 'InnoDB'",
            &["SYSTEM_DB_URL", "InnoDB"],
        ),
    ] {
        root.execute(off).await?;
        for role in Role::ALL {
            refused(&stack, &(role, "serve", Env::new(), words)).await?;
        }
        root.execute(on).await?;
    }

    // A migration made a table, and nothing has granted rights on it yet.
    for account in ["control", "provisioner_system"] {
        let on = format!("ON ai_shifu_system.saas_sign_ups FROM '{account}'@'127.0.0.1'");
        root.execute(format!("REVOKE UPDATE, DELETE {on}").as_str()).await?;
    }
    for role in [CONTROL, WORKER] {
        refused(&stack, &(role, "serve", Env::new(), &["SYSTEM_DB_URL", "saas_sign_ups", "tables.sql"])).await?;
    }

    // An empty database, and one that another version has changed.
    root.execute("CREATE DATABASE `empty`; GRANT ALL ON `empty`.* TO 'migrator'@'127.0.0.1'").await?;
    let empty = urls.system.migrator.replace(system, "empty");
    for role in Role::ALL {
        refused(
            &stack,
            &(
                role,
                "serve",
                set("SYSTEM_DB_URL", &empty),
                &["SYSTEM_DB_URL", "migration 1 is not applied", "control-plane migrate"],
            ),
        )
        .await?;
    }
    root.execute("UPDATE ai_shifu_system.saas_schema_migrations SET checksum = 'x' WHERE version = 2").await?;
    refused(&stack, &(NODE, "serve", Env::new(), &["migration 2 was changed"])).await
}

/// The tables have what Galera requires (a primary key each), and the member that takes the writes has what the
/// services require. The packages of MariaDB contain the library.
#[tokio::test]
async fn a_member_of_a_galera_cluster_serves() -> Result<()> {
    if harness::servers::mysql::selected().is_some() {
        return Ok(());
    }
    let mut options = world::without_nodes("galera")?;
    let ports: Vec<u16> = (0..4).map(|_| harness::ports::free()).collect::<Result<_>>()?;
    options.mariadb.extra = vec![
        "--wsrep-on=ON".to_owned(),
        "--wsrep-provider=/usr/lib/galera/libgalera_smm.so".to_owned(),
        "--wsrep-cluster-address=gcomm://".to_owned(),
        "--wsrep-node-address=127.0.0.1".to_owned(),
        format!("--wsrep-sst-receive-address=127.0.0.1:{}", ports[0]),
        format!(
            "--wsrep-provider-options=base_port={};gmcast.listen_addr=tcp://127.0.0.1:{};ist.recv_addr=127.0.0.1:{};gcache.size=8M",
            ports[1], ports[2], ports[3]
        ),
        "--binlog-format=ROW".to_owned(),
        "--innodb-autoinc-lock-mode=2".to_owned(),
    ];
    let stack = Stack::start(options).await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", None, world::SOON).await?;
    let without_key = "SELECT COUNT(*) FROM information_schema.tables t WHERE table_schema LIKE 'ai_shifu%' AND table_type = 'BASE TABLE'
        AND NOT EXISTS (SELECT 1 FROM information_schema.table_constraints c WHERE c.table_schema = t.table_schema
                        AND c.table_name = t.table_name AND c.constraint_type = 'PRIMARY KEY')";
    assert_eq!(world::number(&mut world::root(&stack).await?, without_key).await?, 0);
    ensure!(stack.control_planes[0].log_text().contains("connect to the same member"));
    invariants::check(&stack).await
}

async fn refused(stack: &Stack, (role, command, changes, words): &Case) -> Result<()> {
    let began = Instant::now();
    // A free port, in case the service starts after all.
    let mut env = changes.clone();
    let listeners = [
        "CONTROL_PLANE_LISTEN",
        "CONTROL_PLANE_INTERNAL_LISTEN",
        "PROVISIONER_LISTEN",
        "DATA_PLANE_LISTEN",
        "DATA_PLANE_INTERNAL_LISTEN",
    ];
    env.extend(listeners.map(|name| (name.to_owned(), "127.0.0.1:0".to_owned())));
    let output = tokio::time::timeout(BOUND, stack.output(*role, &[command], &env))
        .await
        .with_context(|| format!("{} {command} with {changes:?} does not end", role.binary()))??;
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    let names: Vec<_> = changes.iter().map(|(name, _)| name).collect();
    let what = format!("{} {command} with {names:?} printed after {:?}: {printed}", role.binary(), began.elapsed());
    ensure!(output.status.code() == Some(1), "{what}");
    for word in *words {
        ensure!(printed.contains(word), "{what} (without {word:?})");
    }
    ensure!(!printed.contains("hunter2") && !printed.contains(stack.encryption_keys()), "{what}");
    Ok(())
}

/// The certificate of some authority.
fn authority() -> Result<String> {
    let dir = tempfile::tempdir()?;
    Ok(harness::servers::certificates::Authority::new(&dir.path().join("any"))?.pem().to_owned())
}
