//! `control-plane audit`: everything that can be compared with the events, in one command.

use super::{FOUND, system_options, system_pool};
use crate::audit::RequestAudit;
use crate::audit::report::{self, Finding, LIST, MOST, Report};
use crate::commands::perform;
use crate::cursor::Page;
use anyhow::Context;
use clap::Args;
use kernel::audit::Drift;
use kernel::database::migrate;
use kernel::domain::{Command, Repair, TenantId};
use kernel::process::config::Settings;
use kernel::store::{Difference, Store, rebuild};
use serde_json::json;
use sqlx::MySqlPool;
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Compare the database servers, and the rows of the system database, with the events.
///
/// The running provisioners check databases with their ownership markers and schemas, users, rights, limits, locks,
/// sessions, credentials and rotations, in both directions: they also find what belongs to no tenant. This command
/// checks the projections, and finds jobs that no worker takes.
///
/// With --repair, what is safe is repaired: rights, limits, locks and users are made as they should be, users of this
/// installation that belong to no tenant are dropped, and so are databases that a job has recorded as made and left,
/// such as the copy of a restore test. Projections are rebuilt. No other database is dropped, and none is changed. Each
/// repair for a tenant is an event of that tenant.
///
/// The projections need tables named ..__rebuild, so SYSTEM_DB_URL must be that of the account that migrates.
///
/// Exit codes: 0 no difference is left, 4 a difference is left, or something was not checked.
#[derive(Args)]
pub struct Options {
    /// Repair what is safe.
    #[arg(long)]
    repair: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    /// Seconds to wait for the provisioners.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    wait: u64,
}

pub async fn run(settings: &Settings, options: &Options) -> anyhow::Result<ExitCode> {
    let (system, pool) = (system_options(settings)?, system_pool(settings, 2)?);
    let mut connection = pool.acquire().await.context("the system database (SYSTEM_DB_URL) cannot be reached")?;
    migrate::verify(&mut connection).await?;
    drop(connection);
    crate::schedule::register(&pool).await?;
    let store = Store::new(pool.clone());
    let requested = perform(&store, "command", &RequestAudit { repair: options.repair }).await;
    let requested = requested.map_err(|refusal| anyhow::Error::new(refusal).context("the audit was refused"))?;
    let audit_id = requested.context("the audit has no row")?.audit_id;
    let mut report = wait(&pool, &audit_id, Duration::from_secs(options.wait)).await?;

    let mut page = Page::first(LIST, MOST);
    while report.next_cursor.is_some() {
        page = page.next();
        let more = report::of(&mut *pool.acquire().await?, &audit_id, &page).await?.context("the audit is gone")?;
        report.findings.extend(more.findings);
        report.next_cursor = more.next_cursor;
    }
    for table in rebuild(&system, options.repair).await?.tables.iter().filter(|table| table.differences > 0) {
        report.findings.push(projection(table, options.repair));
        if options.repair {
            record(&store, table).await?;
        } else {
            report.differences_left += 1;
        }
    }
    print(&report, options.json);
    Ok(if report.differences_left == 0 && report.status == "done" { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

/// Waits for the end of the audit, and says on standard error how far it is.
async fn wait(pool: &MySqlPool, audit_id: &str, limit: Duration) -> anyhow::Result<Report> {
    let (begun, mut said) = (Instant::now(), String::new());
    loop {
        let report = report::of(&mut *pool.acquire().await?, audit_id, &Page::first(LIST, MOST)).await?;
        let report = report.context("the audit is gone")?;
        if report.status != "running" {
            return Ok(report);
        }
        let now =
            format!("compared {} tenants, {} to be checked one by one", report.tenants_compared, report.tenants_left);
        if begun.elapsed() > Duration::from_secs(1) && now != said {
            eprintln!("{now}");
            said = now;
        }
        if begun.elapsed() >= limit {
            eprintln!("the audit has not ended within {} s; is a provisioner running?", limit.as_secs());
            return Ok(report);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn projection(table: &Difference, repaired: bool) -> Finding {
    let names: Vec<&str> =
        [&table.missing, &table.extra, &table.changed].into_iter().flatten().map(String::as_str).take(10).collect();
    let kind = Drift::ProjectionDiffers;
    Finding {
        kind,
        server: String::new(),
        tenant_id: String::new(),
        subject: table.table.to_owned(),
        what: kind.what(),
        detail: format!("{} rows: {}", table.differences, names.join(", ")),
        repaired,
    }
}

/// Records an event for each tenant with a rebuilt row, so that nodes read the tenant again.
async fn record(store: &Store, table: &Difference) -> anyhow::Result<()> {
    let mut tenants = BTreeSet::new();
    for label in [&table.missing, &table.extra, &table.changed].into_iter().flatten() {
        let owner: Option<String> = match table.table {
            "saas_tenant_domains" | "saas_reservations" => {
                let domain = label.rsplit('/').next().unwrap_or_default();
                let owner = "SELECT tenant_id FROM saas_reservations WHERE kind = 'domain' AND value = ?";
                sqlx::query_scalar(owner).bind(domain).fetch_optional(store.pool()).await?
            }
            _ => label.split('/').next().map(str::to_owned),
        };
        tenants.extend(owner.and_then(|id| id.parse::<TenantId>().ok()));
    }
    for tenant_id in tenants {
        let repair = Repair {
            drift: Drift::ProjectionDiffers.as_str().to_owned(),
            subject: table.table.to_owned(),
            found: "the row differed from the events".to_owned(),
            done: Drift::ProjectionDiffers.repair().unwrap_or_default().to_owned(),
        };
        let command = Command::RecordRepairs { repairs: vec![repair] };
        match store.execute(&tenant_id, "command", command).await {
            Ok(_) | Err(kernel::store::CommandError::Rejected(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn print(report: &Report, as_json: bool) {
    if as_json {
        println!("{}", json!(report));
        return;
    }
    for finding in &report.findings {
        let Finding { kind, tenant_id, subject, what, detail, repaired, .. } = finding;
        let repaired = if *repaired { "repaired" } else { "LEFT" };
        println!("{repaired:<8}  {:<22}  {tenant_id:<16}  {subject}  {what} ({detail})", kind.as_str());
    }
    println!(
        "{}: {} tenants compared, {} passed over, {} differences left, {} repaired",
        report.status,
        report.tenants_compared,
        report.tenants_passed_over,
        report.differences_left,
        report.findings.iter().filter(|finding| finding.repaired).count()
    );
}
