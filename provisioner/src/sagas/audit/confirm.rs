//! The step `confirm`: compares again. A finding that is gone was repaired, which becomes an event; or, if it was not
//! to be repaired, it was no drift.

use super::{audit_of, examine, row};
use crate::sagas::saga::Step;
use crate::sagas::{ACTOR, Context, StepError};
use kernel::audit::{self, Finding};
use kernel::domain::{Command, Repair};
use kernel::jobs::JobError;
use kernel::process::telemetry::names;

pub const STEP: Step = Step::new("confirm", |context| Box::pin(act(context)));

async fn act(context: &mut Context<'_>) -> Result<(), StepError> {
    let audit = audit_of(context).await?;
    if audit.passed_over {
        return Ok(());
    }
    let present = examine(context).await?;
    let row = row(context, &audit);
    let stored = audit::stored(context.tools.store.pool(), row).await.map_err(JobError::from)?;
    let is_there = |finding: &Finding| {
        present.findings.iter().any(|now| now.kind == finding.kind && now.subject == finding.subject)
    };
    let (left, gone): (Vec<_>, Vec<_>) = stored.into_iter().partition(is_there);
    let (repaired, vanished): (Vec<_>, Vec<_>) =
        gone.into_iter().partition(|finding| audit.repair && finding.kind.repair().is_some());
    let new: Vec<Finding> = present
        .findings
        .into_iter()
        .filter(|now| !left.iter().any(|finding| finding.kind == now.kind && finding.subject == now.subject))
        .collect();

    let mut unit = context.job().begin().await?;
    let repairs = repaired.iter().map(|finding| Repair {
        drift: finding.kind.as_str().to_owned(),
        subject: finding.subject.clone(),
        found: finding.detail.clone(),
        done: finding.kind.repair().unwrap_or_default().to_owned(),
    });
    let command = Command::RecordRepairs { repairs: repairs.collect() };
    unit.execute(&context.tenant.tenant_id, ACTOR, command).await?;
    for finding in &repaired {
        audit::repaired(&mut unit, row, finding).await.map_err(JobError::from)?;
    }
    for finding in &vanished {
        audit::drop_vanished(&mut unit, row, finding).await.map_err(JobError::from)?;
    }
    audit::store(&mut unit, row, &new).await.map_err(JobError::from)?;
    unit.commit().await?;
    let tenant_id = &context.tenant.tenant_id;
    for finding in left.iter().chain(&new) {
        metrics::counter!(names::DRIFT_FOUND, "kind" => finding.kind.as_str()).increment(1);
        tracing::warn!(%tenant_id, drift = finding.kind.as_str(), subject = finding.subject, "drift");
    }
    for finding in &repaired {
        metrics::counter!(names::DRIFT_REPAIRED, "kind" => finding.kind.as_str()).increment(1);
        tracing::info!(%tenant_id, drift = finding.kind.as_str(), subject = finding.subject, "drift repaired");
    }
    Ok(())
}
