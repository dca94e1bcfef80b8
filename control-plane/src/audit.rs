//! `control-plane audit`: looks for drift that the system database alone shows, and changes nothing.
//!
//! **Guarantees.** What is found of credentials, rotations and jobs is true of one moment: the rows are read in one snapshot.
//! The projections are compared after it, in a look of their own ([`kernel::store::rebuild`]). A tenant with a job in progress
//! is passed over where credentials are looked at, because its own may be on the way in or out. The database servers are not
//! looked at: the control plane holds no account there.

use crate::FOUND;
use anyhow::Context;
use clap::Args;
use kernel::config::Settings;
use kernel::database;
use kernel::store::rebuild;
use serde::Serialize;
use serde_json::json;
use sqlx::MySqlConnection;
use std::process::ExitCode;

/// Compare what the system database keeps with what its events say: projections, credentials, rotations, jobs.
///
/// Only looks, beside running services. It makes and drops tables named ..__rebuild, so SYSTEM_DB_URL must be that of the
/// account that migrates. Databases and users on the tenants' servers are not looked at.
///
/// Exit codes: 0 nothing found, 4 drift found.
#[derive(Args)]
pub struct Options {
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Most findings of one kind that are told.
const MOST: u32 = 1000;
/// A job that has been due for so long, and that nobody holds, waits for a worker that is not there.
const STUCK_SECONDS: u32 = 300;

/// What may be wrong.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    ProjectionDiffers,
    CredentialMissing,
    RotationLeft,
    JobStuck,
}

#[derive(Debug, Serialize)]
struct Finding {
    kind: Kind,
    /// Whose, or which row's.
    subject: String,
    what: &'static str,
}

/// Tenants without a job, by state. The state that counts is the one before a deletion.
const CREDENTIALS: &str =
    "SELECT d.tenant_id FROM saas_tenant_databases d JOIN saas_tenant_snapshots s ON s.tenant_id = d.tenant_id
     WHERE NOT EXISTS (SELECT 1 FROM saas_operations o WHERE o.tenant_id = d.tenant_id AND o.status IN ('pending', 'running'))
       AND JSON_UNQUOTE(COALESCE(JSON_EXTRACT(s.snapshot, '$.before_deletion.state'), JSON_EXTRACT(s.snapshot, '$.state')))";

pub async fn run(settings: &Settings, options: &Options) -> anyhow::Result<ExitCode> {
    let url = settings.secret("SYSTEM_DB_URL")?;
    let system = database::options(&url).context("the setting SYSTEM_DB_URL is wrong")?;
    let mut connection =
        database::connect(&system).await.context("the system database (SYSTEM_DB_URL) cannot be reached")?;
    let mut findings = kept(&mut connection).await?;
    for table in rebuild(&system, false).await?.tables.iter().filter(|table| table.differences > 0) {
        let subject = format!("{} ({} rows)", table.table, table.differences);
        let what = "differs from the events; `control-plane rebuild --check` names the rows";
        findings.push(Finding { kind: Kind::ProjectionDiffers, subject, what });
    }
    if options.json {
        println!("{}", json!({"findings": findings}));
    } else if findings.is_empty() {
        println!("nothing found");
    } else {
        for Finding { kind, subject, what } in &findings {
            println!("{}  {subject}  {what}", json!(kind).as_str().unwrap_or_default());
        }
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

async fn kept(connection: &mut MySqlConnection) -> Result<Vec<Finding>, sqlx::Error> {
    let looks = [
        (
            Kind::CredentialMissing,
            "has a database and no credential is kept",
            format!(
                "{CREDENTIALS} IN ('active', 'suspended', 'maintenance') AND (d.db_username = '' OR d.db_password_encrypted = '')"
            ),
        ),
        (
            Kind::RotationLeft,
            "keeps the credential of a rotation that is over",
            "SELECT n.tenant_id FROM saas_next_credentials n
             WHERE NOT EXISTS (SELECT 1 FROM saas_operations o WHERE o.operation_id = n.operation_id
                               AND o.status IN ('pending', 'running'))"
                .to_owned(),
        ),
        (
            Kind::JobStuck,
            "has a job that was due long ago and that nobody does",
            format!(
                "SELECT o.tenant_id FROM saas_operations o WHERE o.status IN ('pending', 'running')
                     AND GREATEST(o.next_attempt_at, COALESCE(o.lease_until, o.next_attempt_at))
                         < UTC_TIMESTAMP(6) - INTERVAL {STUCK_SECONDS} SECOND"
            ),
        ),
    ];
    sqlx::raw_sql(
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    )
    .execute(&mut *connection)
    .await?;
    let mut findings = Vec::new();
    for (kind, what, look) in looks {
        let rows: Vec<(String,)> = sqlx::query_as(&format!("{look} LIMIT {MOST}")).fetch_all(&mut *connection).await?;
        findings.extend(rows.into_iter().map(|(subject,)| Finding { kind, subject, what }));
    }
    sqlx::raw_sql("COMMIT").execute(connection).await?;
    Ok(findings)
}
