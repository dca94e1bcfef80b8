//! The views, routines, triggers and events that are in use before a restore. They are stored in the database of the
//! replaced data, because they are dropped before it is known that the restore succeeds. If it fails they are made
//! again, and the provisioner's account is their definer from then on.

use super::replaced;
use crate::sagas::{Context, StepError};
use crate::tables::stored_objects::{self, StoredObject};
use kernel::database::{self, sql};

/// The table that stores them. Its row of number 0 says that all are there. No table of a tenant has this name:
/// [`crate::tables::fitness`] refuses it.
pub use crate::tables::fitness::FORMER_OBJECTS as TABLE;

/// The name that the table had in earlier versions.
const EARLIER_TABLE: &str = "_objects";

/// Gives the table its present name, if a worker of an earlier version has stored the objects before an upgrade. Every
/// restore stores them before the tenant's own tables come to the database `replaced`, so a table of the earlier name
/// is the tenant's own if there is one of the present name.
pub async fn adopt(context: &mut Context<'_>, replaced: &str) -> Result<(), StepError> {
    let rows =
        sqlx::query("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME IN (?, ?)")
            .bind(replaced)
            .bind(TABLE)
            .bind(EARLIER_TABLE)
            .fetch_all(context.session.connection())
            .await?;
    let [row] = rows.as_slice() else { return Ok(()) };
    if database::text(row, 0)? == EARLIER_TABLE {
        let earlier = format!("{}.{}", sql::identifier(replaced)?, sql::identifier(EARLIER_TABLE)?);
        context.session.execute(&format!("RENAME TABLE {earlier} TO {}", table(replaced)?)).await?;
    }
    Ok(())
}

/// Stores and drops them.
pub async fn take_away(context: &mut Context<'_>) -> Result<(), StepError> {
    let (name, replaced) = (context.database().to_owned(), replaced(context));
    if read(context, &replaced).await?.is_none() {
        context.enter_to_copy(&name).await?;
        let found = stored_objects::read(context.session.connection(), &name).await?;
        for what in &found.broken {
            let tenant_id = &context.tenant.tenant_id;
            tracing::warn!(%tenant_id, what, "it does not work, so it is not stored while a backup is restored");
        }
        store(context, &replaced, &found.all).await?;
    }
    stored_objects::drop_all(context.session.connection(), &name).await?;
    Ok(())
}

/// Makes those again that were stored, if any were.
pub async fn put_back(context: &mut Context<'_>) -> Result<(), StepError> {
    let (name, replaced) = (context.database().to_owned(), replaced(context));
    let Some(all) = read(context, &replaced).await? else { return Ok(()) };
    context.enter_to_copy(&name).await?;
    // Those that could not be dropped still exist.
    Ok(stored_objects::complete(context.session.connection(), &name, &all).await?)
}

async fn store(context: &mut Context<'_>, replaced: &str, all: &[StoredObject]) -> Result<(), StepError> {
    let table = table(replaced)?;
    let create = format!(
        "CREATE TABLE IF NOT EXISTS {table}
         (number INT PRIMARY KEY, object LONGTEXT CHARACTER SET utf8mb4 NOT NULL) ENGINE=InnoDB"
    );
    context.session.execute(&create).await?;
    context.session.execute(&format!("BEGIN; DELETE FROM {table}")).await?;
    let insert = format!("INSERT INTO {table} (number, object) VALUES (?, ?)");
    let unwritable = |_| StepError::Unfit("the tenant's views and triggers cannot be stored");
    let texts = all.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>().map_err(unwritable)?;
    for (number, text) in (1_i32..).zip(texts).chain([(0, String::new())]) {
        sqlx::query(&insert).bind(number).bind(text).execute(context.session.connection()).await?;
    }
    Ok(context.session.execute("COMMIT").await?)
}

/// What was stored; `None`: nothing was, or not all of it.
async fn read(context: &mut Context<'_>, replaced: &str) -> Result<Option<Vec<StoredObject>>, StepError> {
    let there = sqlx::query("SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?")
        .bind(replaced)
        .bind(TABLE)
        .fetch_optional(context.session.connection())
        .await?;
    if there.is_none() {
        return Ok(None);
    }
    let rows = sqlx::query(&format!("SELECT object FROM {} ORDER BY number", table(replaced)?))
        .fetch_all(context.session.connection())
        .await?;
    let mut texts = rows.iter().map(|row| database::text(row, 0));
    match texts.next().transpose()? {
        Some(first) if first.is_empty() => {}
        _ => return Ok(None),
    }
    let unreadable = |_| StepError::Unfit("the stored views and triggers of the tenant cannot be read");
    texts.map(|text| serde_json::from_str(&text?).map_err(unreadable)).collect::<Result<_, _>>().map(Some)
}

fn table(replaced: &str) -> Result<String, StepError> {
    Ok(format!("{}.{}", sql::identifier(replaced)?, sql::identifier(TABLE)?))
}
