//! All servers speak TLS only, with certificates of private authorities, and everything works. The services refuse any
//! certificate that is not for the very host and not of a trusted authority.

use super::traces;
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::servers::certificates::{Authority, Certificates};
use harness::stack::Role;
use harness::stack::{Stack, StackOptions};
use harness::wait;
use serde_json::Value;
use sqlx::{Connection, MySqlConnection};

const HOST: &str = "acme.example.com";

#[tokio::test]
async fn everything_works_by_tls_alone() -> Result<()> {
    let options = StackOptions::for_test("tls")?;
    // With two authorities, one can be trusted without the other.
    let databases = Authority::new(&options.dir.join("databases"))?;
    let messages = Authority::new(&options.dir.join("messages"))?;
    let trusted = options.dir.join("trusted.pem");
    std::fs::write(&trusted, format!("{}{}", databases.pem(), messages.pem()))?;
    let certificates = Certificates {
        databases: databases.certificate("mariadb", &["127.0.0.1"])?,
        broker: messages.certificate("rabbitmq", &["127.0.0.1"])?,
        redis: messages.certificate("redis", &["127.0.0.1"])?,
        trusted,
    };
    let collector = messages.certificate("collector", &["127.0.0.1"])?;
    let (collector, spans) = traces::receiver_by_tls(&collector).await?;
    let options = options
        .with_certificates(certificates)
        .with_env("control-plane", "OTLP_ENDPOINT", collector)
        .with_env("control-plane", "OTEL_BSP_SCHEDULE_DELAY", "200");
    let stack = Stack::start(options).await?;
    ensure!(stack.urls.amqp.starts_with("amqps://") && stack.urls.redis.starts_with("rediss://"));

    let admin = stack.admin();
    admin.create_active_tenant("acme", Some(HOST), SOON).await?;
    let (user, token) = world::user(&admin, "ann", &[("acme", "user")]).await?;
    world::plant_order(&stack, "acme", &user, "o-1").await?;
    let api = stack.tenant_api(0);
    let served = wait::until(SOON, "the order to be served", async || {
        api.get(HOST, &token, "/api/orders").await.ok().filter(|reply| reply.status == 200)
    });
    assert_eq!(world::order_bids(&served.await?), ["o-1"]);
    all_parts_healthy(&stack).await?;
    wait::until(SOON, "spans at the collector", async || spans.lock().ok()?.first().map(drop)).await?;
    let encrypted: (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM information_schema.processlist
         WHERE USER NOT IN ('root', 'system user', 'event_scheduler')",
    )
    .fetch_one(&mut world::root(&stack).await?)
    .await?;
    ensure!(encrypted.0 > 3, "the services are connected to a server that takes no plaintext");
    let plaintext = stack.urls.system.control.clone() + "?ssl-mode=DISABLED";
    ensure!(MySqlConnection::connect(&plaintext).await.is_err(), "the server takes no plaintext");

    let of = |authority: &Authority| vec![("TLS_CA_FILE".to_owned(), authority.path().display().to_string())];
    let (control, node) = (Role::ControlPlane, Role::DataPlane);
    let by_another_name = |name: &str, url: &str| vec![(name.to_owned(), url.replace("127.0.0.1", "localhost"))];
    for (role, args, changes, words) in [
        (control, "migrate", of(&messages), ["SYSTEM_DB_URL", "no authority that is trusted"]),
        (control, "verify-log", of(&messages), ["SYSTEM_DB_URL", "UnknownIssuer"]),
        (Role::Provisioner, "serve", of(&messages), ["SYSTEM_DB_URL", "no authority that is trusted"]),
        (node, "serve", of(&databases), ["AMQP_URL", "no authority that is trusted"]),
        (
            control,
            "serve",
            by_another_name("SYSTEM_DB_URL", &stack.urls.system.control),
            ["SYSTEM_DB_URL", "another host"],
        ),
        (
            Role::Provisioner,
            "serve",
            by_another_name("TENANT_DB_ADMIN_URL", &stack.urls.system.tenant_admin),
            ["TENANT_DB_ADMIN_URL", "another host"],
        ),
        (node, "serve", by_another_name("AMQP_URL", &stack.urls.amqp), ["AMQP_URL", "another host"]),
    ] {
        refused(&stack, role, args, &changes, &words).await?;
    }
    Ok(())
}

/// The names are reserved for documentation. No service resolves them, because it refuses to connect.
#[tokio::test]
async fn plaintext_to_other_machines_is_refused() -> Result<()> {
    let stack = Stack::start_servers(world::without_nodes("plaintext")?).await?;
    let set = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let system = "mysql://u:hunter2@db.example.com:3306/ai_shifu_system";
    for (role, args, changes, words) in [
        (
            Role::ControlPlane,
            "serve",
            set("SYSTEM_DB_URL", &format!("{system}?ssl-mode=DISABLED")),
            ["SYSTEM_DB_URL", "ALLOW_PLAINTEXT"],
        ),
        (
            Role::ControlPlane,
            "migrate",
            set("SYSTEM_DB_URL", &format!("{system}?ssl-mode=PREFERRED")),
            ["SYSTEM_DB_URL", "VERIFY_IDENTITY"],
        ),
        (
            Role::Provisioner,
            "serve",
            set("TENANT_DB_ADMIN_URL_EU2", &format!("{system}?ssl-mode=REQUIRED")),
            ["TENANT_DB_ADMIN_URL_EU2", "ALLOW_PLAINTEXT"],
        ),
        (Role::DataPlane, "serve", set("AMQP_URL", "amqp://u:hunter2@mq.example.com/%2f"), ["AMQP_URL", "amqps://"]),
        (Role::DataPlane, "serve", set("AMQP_URL", "amqps://mq.example.com/%2f"), ["AMQP_URL", "no password"]),
        (
            Role::DataPlane,
            "serve",
            set("REDIS_URL", "redis://:hunter2@cache.example.com/0"),
            ["REDIS_URL", "rediss://"],
        ),
        (Role::Provisioner, "serve", set("REDIS_URL", "rediss://cache.example.com/0"), ["REDIS_URL", "no password"]),
        (Role::DataPlane, "serve", set("TLS_CA", "hunter2"), ["TLS_CA", "PEM"]),
        (
            Role::ControlPlane,
            "migrate",
            set("ALLOW_PLAINTEXT", "db.example.com:3306"),
            ["ALLOW_PLAINTEXT", "without port"],
        ),
    ] {
        refused(&stack, role, args, &changes, &words).await?;
    }
    // The service tries a listed host, so its error is another one.
    let listed = vec![
        ("SYSTEM_DB_URL".to_owned(), system.replace("db.example.com", "db.invalid") + "?ssl-mode=DISABLED"),
        ("ALLOW_PLAINTEXT".to_owned(), "cache.example.com,db.invalid".to_owned()),
    ];
    refused(&stack, Role::ControlPlane, "migrate", &listed, &["SYSTEM_DB_URL", "cannot be reached"]).await
}

async fn refused(stack: &Stack, role: Role, args: &str, changes: &[(String, String)], words: &[&str]) -> Result<()> {
    let output = stack.output(role, &[args], &changes.to_vec()).await?;
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    let what = format!("{} {args} with {:?} printed: {printed}", role.binary(), changes.first().map(|(name, _)| name));
    ensure!(output.status.code() == Some(1), "{what}");
    for word in words {
        ensure!(printed.contains(word), "{what} (without {word:?})");
    }
    ensure!(!printed.contains("hunter2"), "{what}");
    Ok(())
}

async fn all_parts_healthy(stack: &Stack) -> Result<()> {
    let services = [&stack.control_planes, &stack.provisioners, &stack.data_planes];
    let client = harness::http().build()?;
    for service in services.into_iter().flatten() {
        wait::until_ok(SOON, "all parts to be healthy", async || {
            let ready: Value = client.get(format!("{}/readyz", service.url())).send().await?.json().await?;
            let parts = ready["parts"].as_object().context("parts")?;
            let needed: &[&str] = if service.name() == "data-plane" { &["broker", "redis"] } else { &["broker"] };
            ensure!(needed.iter().all(|part| parts.contains_key(*part)), "{ready}");
            ensure!(parts.values().all(|part| part["status"] == "healthy"), "{ready}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}
