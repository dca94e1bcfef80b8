//! The private servers do what every end-to-end test relies on.

use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, Executor, MySqlConnection};

use super::Server;
use super::accounts;
use super::mariadb::{self, MariaDb};
use super::probe;
use super::rabbitmq::RabbitMq;
use super::redis::Redis;
use crate::leftovers::fresh_dir;
use crate::{install, wait};

async fn connect(url: &str) -> Result<MySqlConnection> {
    let options: MySqlConnectOptions = url.parse()?;
    options.disable_statement_logging().connect().await.context("connect")
}

async fn small_mariadb(name: &str) -> Result<MariaDb> {
    install::ensure(&[install::Tool::MariaDb, install::Tool::Redis]).await?;
    let options = mariadb::Options { small_buffer_pool: true, ..Default::default() };
    MariaDb::start(&fresh_dir(name)?, &options).await
}

#[tokio::test]
async fn mariadb_keeps_its_data_over_kills_and_pauses() -> Result<()> {
    let mut server = small_mariadb("mariadb").await?;
    let url = server.url();
    connect(&url).await?.execute("CREATE DATABASE committed").await?;
    for _ in 0..2 {
        server.kill9()?;
        assert!(probe::mysql(&url).await.is_err());
        server.restart().await?;
        connect(&url).await?.execute("USE committed").await.context("what was committed before the kill exists")?;
    }
    server.pause()?;
    assert!(probe::mysql(&url).await.is_err(), "a frozen server does not answer");
    server.resume()?;
    wait::until_ok(Duration::from_secs(5), "the resumed server", async || probe::mysql(&url).await).await?;

    let empty = server.account_url("root", "", "");
    assert!(probe::mysql(&empty).await.is_err(), "no account has an empty password");
    server.stop().await
}

#[tokio::test]
async fn accounts_have_the_rights_they_need_and_no_more() -> Result<()> {
    let server = small_mariadb("accounts").await?;
    let urls = accounts::ensure(&server).await?;
    assert_eq!(accounts::ensure(&server).await?.control, urls.control, "the same at every start");

    connect(&urls.migrator).await?.execute("CREATE TABLE notes (id INT PRIMARY KEY)").await?;
    connect(&urls.control).await?.execute("INSERT INTO notes VALUES (1)").await?;
    assert!(connect(&urls.node).await.is_err(), "a node has rights on single tables only");
    let mut admin = connect(&urls.tenant_admin).await?;
    for statement in [
        "CREATE DATABASE ai_shifu_tenant_t1",
        "CREATE TABLE ai_shifu_tenant_t1.orders (id INT PRIMARY KEY)",
        "CREATE USER 't1'@'127.0.0.1' IDENTIFIED BY 'only-for-this-test'",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON `ai\\_shifu\\_tenant\\_t1`.* TO 't1'@'127.0.0.1'",
        "DROP USER 't1'@'127.0.0.1'",
        "DROP DATABASE ai_shifu_tenant_t1",
    ] {
        admin.execute(statement).await.context(statement)?;
    }

    let forbidden = [
        (&urls.control, "CREATE TABLE more (id INT)"),
        (&urls.control, "UPDATE notes SET id = 2"),
        (&urls.migrator, "CREATE DATABASE ai_shifu_tenant_t2"),
        (&urls.tenant_admin, "SELECT id FROM ai_shifu_system.notes"),
        (&urls.tenant_admin, "CREATE DATABASE elsewhere"),
        // A grant with an unescaped underscore would allow this.
        (&urls.tenant_admin, "CREATE DATABASE aixshifuxtenantxt3"),
    ];
    for (url, statement) in forbidden {
        assert!(connect(url).await?.execute(statement).await.is_err(), "allowed: {statement}");
    }
    Ok(())
}

#[tokio::test]
async fn redis_restarts_on_its_port_after_a_kill() -> Result<()> {
    install::ensure(&[install::Tool::Redis]).await?;
    let mut server = Redis::start(&fresh_dir("redis")?, &None).await?;
    let url = server.url();
    let mut wrong = url::Url::parse(&url)?;
    wrong.set_password(Some("wrong")).expect("a URL with a host");
    assert!(probe::redis(wrong.as_str(), None).await.is_err(), "a password is needed");
    server.kill9()?;
    server.restart().await?;
    assert_eq!(server.url(), url);
    probe::redis(&url, None).await?;
    server.stop().await
}

/// This takes half a minute, so only the long run does it. Every run of the suite starts a broker anyway.
#[tokio::test]
#[ignore = "long: starts RabbitMQ three times"]
async fn rabbitmq_serves_again_after_kills_and_pauses() -> Result<()> {
    install::ensure(&install::SERVERS).await?;
    let mut server = RabbitMq::start(&fresh_dir("rabbitmq")?, &None).await?;
    let url = server.url();
    server.kill9()?;
    server.restart().await?;
    server.pause()?;
    assert!(probe::amqp(&url, None).await.is_err(), "a frozen broker does not answer");
    server.resume()?;
    wait::until_ok(Duration::from_secs(10), "the resumed broker", async || probe::amqp(&url, None).await).await?;
    server.stop().await?;
    server.restart().await?;
    server.stop().await
}
