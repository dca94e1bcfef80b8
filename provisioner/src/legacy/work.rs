//! Several tables at once: each worker has connections of its own and takes the next table of the list.

use super::LegacyError;
use super::destination::Destination;
use super::direction::Direction;
use super::mapping::Place;
use super::routes::Route;
use sqlx::{Executor, MySqlConnection};
use std::cell::Cell;

/// Connections of a worker.
pub struct Worker {
    /// To the source.
    pub source: MySqlConnection,
    /// To the system database.
    pub system: MySqlConnection,
    /// To the tenant's database.
    pub tenant: MySqlConnection,
    /// To the system database, for recording what is durable while the others are in transactions.
    pub checkpoints: MySqlConnection,
}

impl Worker {
    /// One for each connection to the source.
    pub async fn all(destination: &Destination, sources: Vec<MySqlConnection>) -> Result<Vec<Self>, LegacyError> {
        let mut workers = Vec::with_capacity(sources.len());
        for source in sources {
            let tenant = destination.connect(Place::Tenant).await?;
            let (system, checkpoints) =
                (destination.connect(Place::System).await?, destination.connect(Place::System).await?);
            workers.push(Self { source, system, tenant, checkpoints });
        }
        Ok(workers)
    }

    /// Connections to the near end and to the far end.
    pub fn ends(&mut self, route: &Route, direction: Direction) -> (&mut MySqlConnection, &mut MySqlConnection) {
        let new = match route.place {
            Place::System => &mut self.system,
            Place::Tenant => &mut self.tenant,
        };
        match direction {
            Direction::Forward => (&mut self.source, new),
            Direction::Back => (new, &mut self.source),
        }
    }
}

/// Leaves the checking of unique keys to the server only where the destination has one besides the primary key. Without it
/// the first rows of an empty table are sorted into its indexes instead of being inserted one by one.
pub async fn begin_table(connection: &mut MySqlConnection, route: &Route) -> Result<(), LegacyError> {
    let checks = format!("SET SESSION unique_checks = {}", u8::from(route.unique));
    connection.execute(checks.as_str()).await?;
    Ok(())
}

/// Does `work` for every route. The first failure ends all of it.
pub async fn in_parallel(
    workers: &mut [Worker],
    routes: &[Route],
    work: impl AsyncFn(&mut Worker, &Route) -> Result<(), LegacyError>,
) -> Result<(), LegacyError> {
    let next = Cell::new(0);
    let (next, work) = (&next, &work);
    let each = workers.iter_mut().map(|worker| async move {
        while let Some(route) = routes.get(next.replace(next.get() + 1)) {
            work(worker, route).await?;
        }
        Ok(())
    });
    futures::future::try_join_all(each).await.map(drop)
}
