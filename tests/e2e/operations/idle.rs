//! What the services ask when nobody asks them anything: few statements, and of each tenant's database a login and the
//! smallest statement.

use crate::world::{self, SOON};
use anyhow::{Result, ensure};
use harness::stack::{Stack, StackOptions};
use sqlx::{Executor, MySqlConnection};
use std::time::Duration;

/// How long the statements are counted.
const WINDOW: Duration = Duration::from_secs(10);

/// Every statement that the main server gets in [`WINDOW`]: user, command, and its text.
async fn statements(root: &mut MySqlConnection) -> Result<Vec<(String, String, String)>> {
    root.execute("SET GLOBAL log_output = 'TABLE'").await?;
    root.execute("TRUNCATE TABLE mysql.general_log").await?;
    root.execute("SET GLOBAL general_log = 1").await?;
    tokio::time::sleep(WINDOW).await;
    root.execute("SET GLOBAL general_log = 0").await?;
    let rows = sqlx::query_as(
        "SELECT CONVERT(user_host USING utf8mb4), CONVERT(command_type USING utf8mb4),
                LEFT(CONVERT(argument USING utf8mb4), 150) FROM mysql.general_log",
    )
    .fetch_all(root)
    .await?;
    Ok(rows)
}

/// Statements a second, without logins and ends of sessions.
fn rate(statements: &[(String, String, String)]) -> f64 {
    let sent = statements.iter().filter(|(_, command, _)| matches!(command.as_str(), "Query" | "Execute"));
    sent.count() as f64 / WINDOW.as_secs_f64()
}

/// Prints what is sent most often.
fn print_most(statements: &[(String, String, String)]) {
    let mut counts = std::collections::BTreeMap::new();
    for (_, command, text) in
        statements.iter().filter(|(_, command, _)| matches!(command.as_str(), "Query" | "Execute"))
    {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        *counts.entry(format!("{command} {}", words.chars().take(100).collect::<String>())).or_insert(0) += 1;
    }
    let mut counts: Vec<(i32, String)> = counts.into_iter().map(|(text, count)| (count, text)).collect();
    counts.sort_by(|a, b| b.cmp(a));
    counts.iter().take(25).for_each(|(count, text)| eprintln!("{count:>6}  {text}"));
}

#[tokio::test]
async fn an_idle_system_sends_few_statements_and_checks_by_a_login() -> Result<()> {
    let stack = Stack::start(StackOptions::for_test("idle")?.with_env("provisioner", "HEALTH_EVERY", "2")).await?;
    let admin = stack.admin();
    for id in ["one", "two", "three"] {
        admin.create_active_tenant(id, None, SOON).await?;
    }
    world::idle(&stack).await?;
    let all = statements(&mut world::root(&stack).await?).await?;
    let of_tenants: Vec<_> = all.iter().filter(|(user, ..)| user.contains("ten_")).collect();
    let logins = of_tenants.iter().filter(|(_, command, _)| command == "Connect").count();
    ensure!(logins >= 4, "the databases of the tenants were not checked: {of_tenants:?}");
    let asked = of_tenants
        .iter()
        .find(|(_, command, text)| !matches!(command.as_str(), "Connect" | "Quit") && !text.trim().ends_with("DO 0"));
    ensure!(asked.is_none(), "a check of a tenant's database sends {asked:?}");
    print_most(&all);
    eprintln!("one of each service: {} statements a second", rate(&all));
    ensure!(rate(&all) < 40.0, "{} statements a second", rate(&all));
    Ok(())
}

#[tokio::test]
#[ignore = "long: starts four database servers, three provisioners and two nodes"]
async fn an_idle_fleet_sends_few_statements() -> Result<()> {
    let mut options = StackOptions::for_test("idle-fleet")?;
    options.more_servers = ["eu2", "eu3", "eu4"].map(str::to_owned).to_vec();
    (options.provisioners, options.data_planes) = (3, 2);
    let stack = Stack::start(options).await?;
    world::idle(&stack).await?;
    tokio::time::sleep(Duration::from_secs(15)).await;
    let all = statements(&mut world::root(&stack).await?).await?;
    print_most(&all);
    eprintln!("4 servers, 3 provisioners, 2 nodes: {} statements a second", rate(&all));
    ensure!(rate(&all) < 80.0, "{} statements a second", rate(&all));
    Ok(())
}
