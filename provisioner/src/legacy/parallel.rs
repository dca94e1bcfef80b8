//! Several tables at once: each set of connections takes the next table of the list.

use super::LegacyError;
use super::destination::Destination;
use super::direction::Direction;
use super::mapping::TargetDatabase;
use super::table_plan::TablePlan;
use sqlx::{Executor, MySqlConnection};
use std::cell::Cell;

/// The connections that work on a table needs.
pub struct ConnectionSet {
    pub source: MySqlConnection,
    pub system: MySqlConnection,
    pub tenant: MySqlConnection,
    /// To the system database, to record what is durable while the other connections are in transactions.
    pub checkpoints: MySqlConnection,
}

impl ConnectionSet {
    /// One set for each connection to the source.
    pub async fn all(destination: &Destination, sources: Vec<MySqlConnection>) -> Result<Vec<Self>, LegacyError> {
        let mut sets = Vec::with_capacity(sources.len());
        for source in sources {
            let tenant = destination.connect(TargetDatabase::Tenant).await?;
            let (system, checkpoints) = (
                destination.connect(TargetDatabase::System).await?,
                destination.connect(TargetDatabase::System).await?,
            );
            sets.push(Self { source, system, tenant, checkpoints });
        }
        Ok(sets)
    }

    /// The connections to the near end and to the far end of a transfer.
    pub fn ends(&mut self, plan: &TablePlan, direction: Direction) -> (&mut MySqlConnection, &mut MySqlConnection) {
        let new = match plan.target {
            TargetDatabase::System => &mut self.system,
            TargetDatabase::Tenant => &mut self.tenant,
        };
        match direction {
            Direction::Forward => (&mut self.source, new),
            Direction::Back => (new, &mut self.source),
        }
    }

    /// The connections to the source, to the new table and to the records of the move.
    pub fn forward(&mut self, plan: &TablePlan) -> (&mut MySqlConnection, &mut MySqlConnection, &mut MySqlConnection) {
        let Self { source, system, tenant, checkpoints } = self;
        match plan.target {
            TargetDatabase::System => (source, system, checkpoints),
            TargetDatabase::Tenant => (source, tenant, checkpoints),
        }
    }
}

/// Lets the server check unique keys only if the destination has one besides the primary key. Without the check the
/// server sorts the first rows of an empty table into its indexes instead of inserting them one by one.
pub async fn begin_table(connection: &mut MySqlConnection, plan: &TablePlan) -> Result<(), LegacyError> {
    let checks = format!("SET SESSION unique_checks = {}", u8::from(plan.unique));
    connection.execute(checks.as_str()).await?;
    Ok(())
}

/// Does `work` for every table. The first failure ends all of it.
pub async fn in_parallel(
    sets: &mut [ConnectionSet],
    tables: &[TablePlan],
    work: impl AsyncFn(&mut ConnectionSet, &TablePlan) -> Result<(), LegacyError>,
) -> Result<(), LegacyError> {
    let next = Cell::new(0);
    let (next, work) = (&next, &work);
    let each = sets.iter_mut().map(|set| async move {
        while let Some(plan) = tables.get(next.replace(next.get() + 1)) {
            work(set, plan).await?;
        }
        Ok(())
    });
    futures::future::try_join_all(each).await.map(drop)
}
