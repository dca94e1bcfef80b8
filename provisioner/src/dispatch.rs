//! The workers of a process, by lanes, and the task that wakes them.
//!
//! **Guarantees.** What opens or closes a tenant waits for no other work: workers of its own take it ([`Crews`]).
//! Moves, restores and purges, bulk work, surveys, migrations, backups and collections each have workers of their own
//! too, so none of them can hold up another. Bulk work has at most half as many workers as ordinary jobs have.
//!
//! An idle worker sends no statement. One task for the whole process finds out, by one statement for all its servers,
//! in which lanes a job is due, and wakes a worker of each. It does so when a message of the broker or a worker of this
//! process wakes it, when the next job becomes due, and once a second.

use crate::sagas::Tools;
use crate::worker::Worker;
use kernel::jobs::{self, Due, Lane};
use kernel::process::config::{ConfigError, Settings};
use kernel::process::retry::Waits;
use kernel::process::shutdown::Shutdown;
use kernel::store::Store;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use uuid::Uuid;

/// How often the dispatcher asks when nothing wakes it.
const POLL: Duration = Duration::from_secs(1);
/// Shortest time between two questions, so that many messages at once need few.
const MIN_GAP: Duration = Duration::from_millis(20);

/// Workers that do nothing but open and close tenants, for each database server.
const OPENERS: u32 = 2;
/// Workers that survey a server for an audit.
const SURVEYORS: u32 = 1;
/// Workers that collect statistics; one uses as many connections as the setting `STATISTICS_CONNECTIONS` allows.
const COLLECTORS: u32 = 1;

/// How many workers each database server has, by the settings.
#[derive(Clone, Copy)]
pub struct Crews {
    ordinary: u32,
    migrations: u32,
    backups: u32,
}

impl Crews {
    /// The numbers of the settings. Without a store of backups there is no worker for them.
    pub fn from_settings(settings: &Settings, backs_up: bool) -> Result<Self, ConfigError> {
        let backups: u32 = settings.get("BACKUP_WORKERS")?;
        Ok(Self {
            ordinary: settings.get("PROVISIONER_WORKERS")?,
            migrations: settings.get("SCHEMA_WORKERS")?,
            backups: if backs_up { backups } else { 0 },
        })
    }

    /// The groups of workers of a database server: how many, and which lanes they take.
    fn groups(self) -> [(u32, &'static [Lane]); 8] {
        let half = (self.ordinary / 2).max(1);
        [
            (OPENERS, &[Lane::Access]),
            (self.ordinary, &[Lane::Access, Lane::Ordinary]),
            (half, &[Lane::Bulk]),
            (half, &[Lane::Long]),
            (SURVEYORS, &[Lane::Surveys]),
            (self.migrations, &[Lane::Migrations]),
            (self.backups, &[Lane::Backups]),
            (COLLECTORS, &[Lane::Collections]),
        ]
    }

    /// All workers of a database server.
    pub fn of_server(self) -> u32 {
        self.groups().iter().map(|(count, _)| count).sum()
    }
}

/// A group of workers of one server, which share a doorbell.
struct Group {
    server: String,
    lanes: &'static [Lane],
    doorbell: Arc<Notify>,
}

/// Wakes the workers of a process.
pub struct Dispatcher {
    store: Store,
    groups: Vec<Group>,
    doorbell: Arc<Notify>,
}

impl Dispatcher {
    /// A dispatcher without workers, which `doorbell` wakes.
    pub fn new(store: Store, doorbell: Arc<Notify>) -> Self {
        Self { store, groups: Vec::new(), doorbell }
    }

    /// Starts the workers of a server.
    pub fn start_workers(&mut self, crews: Crews, tools: &Arc<Tools>, lease: Duration, shutdown: &Shutdown) {
        for (count, lanes) in crews.groups().into_iter().filter(|(count, _)| *count > 0) {
            let doorbell = Arc::<Notify>::default();
            for number in 0..count {
                let worker = Worker {
                    tools: Arc::clone(tools),
                    lanes,
                    owner: format!("{}:{}-{number}:{}", std::process::id(), lanes[0].as_str(), Uuid::new_v4()),
                    lease,
                    doorbell: Arc::clone(&doorbell),
                    dispatcher: Arc::clone(&self.doorbell),
                };
                shutdown.spawn(worker.run(shutdown.clone()));
            }
            self.groups.push(Group { server: tools.server.id.clone(), lanes, doorbell });
        }
    }

    /// Wakes workers until the process is asked to stop.
    pub async fn run(self, shutdown: Shutdown) {
        let lanes: Vec<(String, Lane)> =
            self.groups.iter().flat_map(|group| group.lanes.iter().map(|lane| (group.server.clone(), *lane))).collect();
        let mut waits = Waits::new(Duration::from_millis(200), Duration::from_secs(10));
        while !shutdown.is_requested() {
            let wait = match jobs::due(self.store.pool(), &lanes).await {
                Ok(due) => {
                    waits.reset();
                    self.wake(&due);
                    let next = due.iter().filter_map(|due| due.next).min();
                    next.map_or(POLL, |next| next.min(POLL))
                }
                Err(error) => {
                    tracing::warn!(cause = %error, "due jobs cannot be found");
                    waits.next_wait()
                }
            };
            tokio::time::sleep(MIN_GAP).await;
            tokio::select! {
                () = self.doorbell.notified() => {}
                () = tokio::time::sleep(wait.saturating_sub(MIN_GAP)) => {}
                () = shutdown.requested() => {}
            }
        }
    }

    /// Wakes a worker of each group that takes jobs of a lane with a due job. The worker that takes one wakes the next.
    fn wake(&self, due: &[Due]) {
        let mut due = due.iter();
        for group in &self.groups {
            let of_group: Vec<&Due> = due.by_ref().take(group.lanes.len()).collect();
            if of_group.iter().any(|due| due.now) {
                group.doorbell.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crews(ordinary: u32) -> Crews {
        Crews { ordinary, migrations: 2, backups: 1 }
    }

    #[test]
    fn every_lane_but_that_of_backups_has_a_worker_whatever_the_settings() {
        // Without a backup store there is no worker for backups; SCHEMA_WORKERS is at least 1.
        for (number, backups) in (1..20).flat_map(|number| [(number, 0), (number, 1)]) {
            let crews = Crews { ordinary: number, migrations: 1, backups };
            for lane in Lane::ALL {
                let workers: u32 = crews.groups().iter().filter(|(_, of)| of.contains(lane)).map(|(n, _)| n).sum();
                let expected = backups > 0 || *lane != Lane::Backups;
                assert_eq!(workers > 0, expected, "{number}, {backups}: {}", lane.as_str());
            }
        }
    }

    #[test]
    fn bulk_has_at_most_half_as_many_workers_as_ordinary_jobs() {
        for number in 2..20 {
            let count = |lane: Lane| -> u32 {
                crews(number).groups().iter().filter(|(_, of)| of.contains(&lane)).map(|(count, _)| count).sum()
            };
            let (bulk, ordinary) = (count(Lane::Bulk), count(Lane::Ordinary));
            assert!(ordinary == number && 2 * bulk <= ordinary, "{bulk} of {ordinary}");
        }
    }

    #[test]
    fn workers_that_open_and_close_tenants_do_nothing_slow() {
        for (_, lanes) in crews(4).groups().iter().filter(|(_, lanes)| lanes.contains(&Lane::Access)) {
            assert!(lanes.iter().all(|lane| matches!(lane, Lane::Access | Lane::Ordinary)));
        }
        assert!(crews(1).groups().iter().any(|(count, lanes)| *count > 0 && *lanes == [Lane::Access]));
    }
}
