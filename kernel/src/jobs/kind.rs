//! The kinds of jobs: one table, from which every list, match and SQL filter is made.
//!
//! To add a kind, add a line here and its saga in `provisioner/src/sagas`.

use std::fmt;
use std::str::FromStr;

/// A line of workers of a database server. A worker takes jobs of one lane only, so that slow jobs do not hold up
/// others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Jobs that a person or a tenant waits for.
    Ordinary,
    /// Backups and restore tests, which take long.
    Backups,
    /// Migrations of the tenants' schema, which are requested for all tenants at once.
    Migrations,
    /// Collections of statistics, which wait for a server for as long as it is away.
    Collections,
}

impl Lane {
    /// Whether many jobs of the lane wait as a matter of course. In the other lanes a job that waits for long shows
    /// that no worker is running.
    fn queues(self) -> bool {
        match self {
            Self::Ordinary => false,
            Self::Backups | Self::Migrations | Self::Collections => true,
        }
    }

    /// Whether a job of the lane waits for a server that is away, however long that takes: its retries are no failure.
    fn waits_for_its_server(self) -> bool {
        self == Self::Collections
    }

    /// Whether a worker that is asked to stop gives the job back in the middle instead of finishing it.
    pub fn is_interruptible(self) -> bool {
        self == Self::Collections
    }
}

/// Whether a job of the kind keeps other operations of its tenant from being requested until it ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    /// Another operation is refused with 409 `operation_in_progress`.
    BlocksOthers,
    /// The job may be requested at any time and is never in the way of another.
    LetsOthers,
}

macro_rules! kinds {
    ($($name:ident $word:literal $lane:ident $others:ident $what:literal;)*) => {
        /// What a job does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum JobKind {
            $(#[doc = $what] $name,)*
        }

        impl JobKind {
            /// Every kind that this program knows. A worker claims no other: a newer program that runs beside it may
            /// have enqueued it.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word in the API, in metrics and in `saas_operations.kind`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// Which workers take it.
            pub fn lane(self) -> Lane {
                match self { $(Self::$name => Lane::$lane,)* }
            }

            fn others(self) -> Others {
                match self { $(Self::$name => Others::$others,)* }
            }
        }
    };
}

kinds! {
    Provision "provision" Ordinary BlocksOthers "Makes a tenant's database, user, schema and first rows.";
    Enforce "enforce" Ordinary LetsOthers "Makes the tenant's account at its server agree with the tenant's state.";
    Configure "configure" Ordinary LetsOthers "Writes a tenant's requested configuration into its database.";
    Purge "purge" Ordinary BlocksOthers "Removes a tenant's database, user and rows.";
    Rotate "rotate" Ordinary BlocksOthers "Replaces the credential of a tenant's database without a failed request.";
    Move "move" Ordinary BlocksOthers "Moves a tenant's database to another server.";
    Migrate "migrate" Migrations LetsOthers "Brings a tenant's database to a newer schema.";
    Audit "audit" Ordinary LetsOthers "Compares a tenant, or all tenants of a server, with what the events say.";
    Restore "restore" Ordinary BlocksOthers "Replaces a tenant's database by one of its backups.";
    RestoreNew "restore_new" Ordinary BlocksOthers "Makes a new tenant from a backup.";
    RestoreElsewhere "restore_elsewhere" Ordinary BlocksOthers "Restores a tenant, whose server is lost, on another server.";
    Backup "backup" Backups LetsOthers "Takes a backup of a tenant or of the system database.";
    RestoreTest "restore_test" Backups LetsOthers "Loads a tenant's newest backup beside the tenant and compares the two.";
    Collect "collect" Collections LetsOthers "Counts the statistics of all tenants of a server.";
}

impl FromStr for JobKind {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text).ok_or(())
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The kinds that a worker of `lane` takes (`None`: all kinds), for `FIND_IN_SET`.
pub(super) fn kinds_of(lane: Option<Lane>) -> String {
    list(|kind| lane.is_none_or(|lane| kind.lane() == lane))
}

/// The kinds of which many jobs wait at once, as the backups of all tenants do, for `FIND_IN_SET`. A job of any other
/// kind that waits for long shows that no worker is running.
pub fn kinds_that_queue() -> String {
    list(|kind| kind.lane().queues())
}

/// The kinds whose retries show nothing but that their server is away, for `FIND_IN_SET`.
pub fn kinds_that_wait_for_a_server() -> String {
    list(|kind| kind.lane().waits_for_its_server())
}

/// The kinds that do not keep other operations of their tenant from being requested, for `NOT FIND_IN_SET`. A kind that
/// this program does not know is not in the list, so a newer program's job counts as blocking.
pub fn kinds_that_block_nothing() -> String {
    list(|kind| kind.others() == Others::LetsOthers)
}

fn list(filter: impl Fn(JobKind) -> bool) -> String {
    let kinds = JobKind::ALL.iter().copied().filter(|kind| filter(*kind));
    kinds.map(JobKind::as_str).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unique_and_fit_their_column() {
        for kind in JobKind::ALL {
            assert!(kind.as_str().len() <= 32 && kind.as_str().parse() == Ok(*kind), "{kind}");
            assert!(
                kind.as_str().chars().all(|c| c.is_ascii_lowercase() || c == '_'),
                "{kind}: FIND_IN_SET splits at commas"
            );
        }
    }

    #[test]
    fn every_kind_is_in_exactly_one_lane() {
        let lanes = [Lane::Ordinary, Lane::Backups, Lane::Migrations, Lane::Collections];
        let mut of_lanes: Vec<String> = lanes
            .iter()
            .flat_map(|lane| kinds_of(Some(*lane)).split(',').map(str::to_owned).collect::<Vec<_>>())
            .collect();
        let mut all: Vec<String> = kinds_of(None).split(',').map(str::to_owned).collect();
        of_lanes.sort();
        all.sort();
        assert_eq!(of_lanes, all);
        assert_eq!(all.len(), JobKind::ALL.len());
    }

    #[test]
    fn lists_for_sql_are_made_from_the_table() {
        assert_eq!(kinds_that_queue(), "migrate,backup,restore_test,collect");
        assert_eq!(kinds_that_wait_for_a_server(), "collect");
        assert_eq!(kinds_that_block_nothing(), "enforce,configure,migrate,audit,backup,restore_test,collect");
    }
}
