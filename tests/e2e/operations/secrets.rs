//! The test knows every secret of its run, and finds none of them where it must not be.

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use harness::servers::mysql;
use harness::stack::{Stack, StackOptions};
use kernel::crypto::{KeyRing, Purpose};
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sqlx::{ConnectOptions, Executor};
use std::fs;
use std::path::Path;

#[tokio::test]
async fn no_secret_is_in_a_log_event_message_or_answer() -> Result<()> {
    let mut options = StackOptions::for_test("secrets")?;
    for service in ["control-plane", "provisioner", "data-plane"] {
        options = options.with_env(service, "LOG", "trace");
    }
    let stack = Stack::start(options).await?;
    let admin = stack.admin();

    // The queue receives everything that is published from here on, and possibly some earlier events.
    let before = admin.events_after(0).await?.len();
    let broker = lapin::Connection::connect(&stack.urls.amqp, lapin::ConnectionProperties::default()).await?;
    let channel = broker.create_channel().await?;
    let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let queue = channel.queue_declare("".into(), exclusive, FieldTable::default()).await?.name().clone();
    let exchange = format!("{}tenant.events", stack.urls.amqp_prefix.clone().unwrap_or_default());
    channel
        .queue_bind(queue.clone(), exchange.into(), "#".into(), QueueBindOptions::default(), FieldTable::default())
        .await?;
    let consume = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let mut messages = channel.basic_consume(queue, "".into(), consume, FieldTable::default()).await?;

    // The main job with good and bad requests uses every kind of secret.
    let mut statements = Vec::new();
    let mut answers = Vec::new();
    let mut root = world::root(&stack).await?;
    for n in 0..5 {
        let id = format!("t-{n}");
        let created = admin.create_tenant(&id, "T", Some(&format!("{id}.example.com"))).await?;
        // An operator who lists the sessions of the server sees these statements.
        while admin.operation(&created.operation_id).await?.status != "succeeded" {
            let seen: Vec<(Option<String>,)> =
                sqlx::query_as("SELECT CAST(INFO AS CHAR) FROM information_schema.PROCESSLIST")
                    .fetch_all(&mut root)
                    .await?;
            statements.extend(seen.into_iter().filter_map(|(info,)| info));
        }
    }
    let (_, token) = world::user(&admin, "ann", &[("t-0", "admin")]).await?;
    let api = stack.tenant_api(0);
    world::served(&api, "t-0.example.com", &token).await?;
    let secret_body = json!({"tenant_id": token, "tenant_name": stack.admin_token});
    answers.push(admin.post("/admin/tenants", secret_body).await?.text);
    answers.push(api.get("t-1.example.com", &token, "/api/orders").await?.text);
    answers.push(api.get("t-0.example.com", &format!("{token}x"), "/api/orders?cursor=x").await?.text);
    answers.push(
        admin.with_token(&format!("{}x", stack.admin_token)).request("GET", "/admin/tenants", None, &[]).await?.text,
    );
    for service in [&stack.control_planes[0], &stack.provisioners[0], &stack.data_planes[0]] {
        answers.push(service.metrics().await?);
        answers.push(reqwest::get(format!("{}/readyz", service.url())).await?.text().await?);
    }

    let mut canaries = vec![
        ("the admin token", stack.admin_token.splitn(3, '_').nth(2).unwrap_or_default().to_owned()),
        ("the user's token", token.clone()),
        ("the encryption key", stack.encryption_keys().split(':').next_back().unwrap_or_default().to_owned()),
    ];
    let urls = &stack.urls;
    for url in [
        &urls.root,
        &urls.amqp,
        &urls.redis,
        &urls.system.control,
        &urls.system.node,
        &urls.system.provisioner_system,
        &urls.system.tenant_admin,
        &urls.system.migrator,
    ] {
        let password = url::Url::parse(url)?.password().map(str::to_owned);
        canaries.push(("a server's password", password.context("every server has a password")?));
    }
    let ring = KeyRing::parse(&SecretString::from(stack.encryption_keys()))?;
    let stored: Vec<(String, String, String)> =
        sqlx::query_as("SELECT tenant_id, db_username, db_password_encrypted FROM saas_tenant_databases")
            .fetch_all(&mut world::system(&stack).await?)
            .await?;
    ensure!(stored.len() == 6, "six tenants");
    for (tenant_id, username, sealed) in &stored {
        let password = ring.open_text(Purpose::TenantPassword { tenant_id, username }, sealed)?;
        canaries.push(("a tenant's password", password.expose_secret().to_owned()));
    }
    ensure!(world::login(&stack, "t-0").await.is_ok());
    for (what, canary) in &canaries {
        ensure!(canary.len() >= 16, "{what} is too short to search for: {} characters", canary.len());
    }
    let search = |place: &str, text: &str| -> Result<()> {
        for (what, canary) in &canaries {
            ensure!(!text.contains(canary.as_str()), "{what} is in {place}");
        }
        Ok(())
    };

    let mut logs = 0;
    for service in stack.control_planes.iter().chain(&stack.provisioners).chain(&stack.data_planes) {
        let text = service.log_text();
        logs += text.len();
        ensure!(text.contains("TRACE") || text.contains("DEBUG"), "{} logs at trace", service.name());
        search(&format!("the log of {}", service.name()), &text)?;
    }
    ensure!(logs > 5_000, "the logs are long enough to search");
    let published = admin.events_after(0).await?.len() - before;
    ensure!(published > 20, "the test published events");
    let mut received = 0;
    while received < published {
        let next = tokio::time::timeout(SOON, messages.next()).await.context("every event is published")?;
        let delivery = next.context("the queue stays")??;
        search("a message", &String::from_utf8_lossy(&delivery.data))?;
        received += 1;
    }
    search(
        "the events",
        &serde_json::to_string(&admin.request("GET", "/admin/events?limit=1000", None, &[]).await?.json)?,
    )?;
    for answer in &answers {
        search("an answer", answer)?;
    }
    ensure!(
        statements.iter().any(|statement| statement.contains("CREATE")),
        "the test saw the statements of the provisioning"
    );
    for statement in &statements {
        search("the server's process list", statement)?;
    }
    for dump in [
        "saas_events",
        "saas_tenant_snapshots",
        "saas_operations",
        "saas_idempotency_keys",
        "saas_admin_tokens",
        "user_token",
        "saas_tenant_databases",
    ] {
        search(&format!("the table {dump}"), &dump_table(&stack, dump).await?)?;
    }
    for process in fs::read_dir("/proc")?.filter_map(Result::ok) {
        let read = |path: &Path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        search("a command line", &read(&process.path().join("cmdline")).unwrap_or_default())?;
    }
    Ok(())
}

#[tokio::test]
async fn no_statement_of_a_server_holds_a_tenants_password() -> Result<()> {
    let stack = Stack::start(world::without_nodes("secret-statements")?).await?;
    let admin = stack.admin();
    let mut root = world::root(&stack).await?;
    if mysql::selected().is_some() {
        // Without this, MySQL replaces passwords in the log only.
        root.execute("SET GLOBAL log_raw = ON").await?;
    }
    root.execute("SET GLOBAL log_output = 'TABLE'").await?;
    root.execute("SET GLOBAL general_log = ON").await?;
    admin.create_active_tenant("acme", None, SOON).await?;
    let first = world::login(&stack, "acme").await?;
    let stored = "SELECT db_password_encrypted FROM saas_tenant_databases WHERE tenant_id = 'acme'";
    let ring = KeyRing::parse(&SecretString::from(stack.encryption_keys()))?;
    let mut passwords = Vec::new();
    for rotated in [false, true] {
        if rotated {
            admin.wait_for_operation(&world::rotate(&admin, "acme").await?, SOON).await?;
        }
        let login = world::login(&stack, "acme").await?;
        login.connect().await.context("the password whose hash the server was given logs in")?;
        ensure!(
            rotated == (login.get_username() != first.get_username()),
            "the rotation changed the tenant's database user"
        );
        let sealed: String = sqlx::query_scalar(stored).fetch_one(&mut world::system(&stack).await?).await?;
        let purpose = Purpose::TenantPassword { tenant_id: "acme", username: login.get_username() };
        passwords.push(ring.open_text(purpose, &sealed)?);
    }
    root.execute("SET GLOBAL general_log = OFF").await?;
    let log: Vec<(Vec<u8>,)> = sqlx::query_as("SELECT argument FROM mysql.general_log").fetch_all(&mut root).await?;
    let log: Vec<String> = log.into_iter().map(|(text,)| String::from_utf8_lossy(&text).into_owned()).collect();
    ensure!(log.iter().filter(|text| text.starts_with("CREATE USER 'ten_")).count() == 2, "both users were logged");
    for password in &passwords {
        ensure!(!log.iter().any(|text| text.contains(password.expose_secret())), "a password is in the server's log");
    }
    Ok(())
}

/// Every text of a table, as it would be in a stolen dump.
async fn dump_table(stack: &Stack, table: &str) -> Result<String> {
    use sqlx::Row;
    let rows = sqlx::query(&format!("SELECT * FROM {table}")).fetch_all(&mut world::system(stack).await?).await?;
    let mut text = String::new();
    for row in &rows {
        for column in 0..row.len() {
            if let Ok(value) = row.try_get_unchecked::<Option<&str>, _>(column) {
                text.push_str(value.unwrap_or_default());
                text.push('\n');
            }
        }
    }
    Ok(text)
}
