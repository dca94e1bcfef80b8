//! The kinds of jobs: one table, from which every list, match and SQL filter is made.
//!
//! To add a kind, add a line here and its saga in `provisioner/src/sagas`.

use std::fmt;
use std::str::FromStr;

macro_rules! lanes {
    ($($name:ident $word:literal $length:ident $what:literal;)*) => {
        /// A queue of jobs of a database server. Each worker takes the jobs of its own lanes only, so that urgent jobs
        /// never wait for slow ones.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Lane {
            $(#[doc = $what] $name,)*
        }

        impl Lane {
            /// Every lane.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word in `saas_operations.lane`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            fn length(self) -> Length {
                match self { $(Self::$name => Length::$length,)* }
            }
        }
    };
}

/// Whether many jobs of a lane wait as a matter of course.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    /// A job that waits for long shows that no worker is running.
    Short,
    /// Jobs wait for each other, for hours if there are many.
    Queues,
}

lanes! {
    Access "access" Short "Jobs that open or close a tenant. Workers of their own take them, which do nothing else.";
    Ordinary "ordinary" Short "Other jobs that a person waits for, and that last for seconds.";
    Long "long" Queues "Jobs that copy or remove all data of a tenant.";
    Bulk "bulk" Queues "Jobs that are requested for many tenants at once, and audits of one tenant.";
    Surveys "surveys" Queues "Surveys of a server for an audit, so that none waits behind bulk work.";
    Migrations "migrations" Queues "Migrations of the tenants' schema, which are requested for all tenants at once.";
    Backups "backups" Queues "Backups and restore tests, which take long.";
    Collections "collections" Queues "Collections of statistics, which wait for a server for as long as it is away.";
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

            /// In which lane it waits, unless the code that requests it says otherwise.
            pub fn lane(self) -> Lane {
                match self { $(Self::$name => Lane::$lane,)* }
            }

            /// Whether it waits for a server that is away, however long that takes: its retries are no failure. A
            /// worker that is asked to stop gives such a job back in the middle instead of finishing it.
            pub fn waits_for_its_server(self) -> bool {
                self == Self::Collect
            }

            /// Whether its work needs the backup store, so that a worker without one must leave it to another.
            pub fn needs_backup_store(self) -> bool {
                matches!(
                    self,
                    Self::Backup
                        | Self::RestoreTest
                        | Self::Prune
                        | Self::Restore
                        | Self::RestoreNew
                        | Self::RestoreElsewhere
                )
            }

            fn others(self) -> Others {
                match self { $(Self::$name => Others::$others,)* }
            }
        }
    };
}

kinds! {
    Provision "provision" Ordinary BlocksOthers "Makes a tenant's database, user, schema and first rows.";
    Enforce "enforce" Access LetsOthers "Makes the tenant's account at its server agree with the tenant's state.";
    Configure "configure" Ordinary LetsOthers "Writes a tenant's requested configuration into its database.";
    Purge "purge" Long BlocksOthers "Removes a tenant's database, user and rows.";
    Rotate "rotate" Ordinary BlocksOthers "Replaces the credential of a tenant's database without a failed request.";
    Move "move" Long BlocksOthers "Moves a tenant's database to another server.";
    FinishMove "finish_move" Long BlocksOthers "Ends a move whose source has failed after the tenant had left it.";
    Migrate "migrate" Migrations LetsOthers "Brings a tenant's database to a newer schema.";
    Audit "audit" Bulk LetsOthers "Compares a tenant, or all tenants of a server, with what the events say.";
    Restore "restore" Long BlocksOthers "Replaces a tenant's database by one of its backups.";
    RestoreNew "restore_new" Long BlocksOthers "Makes a new tenant from a backup.";
    RestoreElsewhere "restore_elsewhere" Long BlocksOthers "Restores a tenant, whose server is lost, on another server.";
    Backup "backup" Backups LetsOthers "Takes a backup of a tenant or of the system database.";
    RestoreTest "restore_test" Backups LetsOthers "Loads a tenant's newest backup beside the tenant and compares the two.";
    Prune "prune" Backups LetsOthers "Removes old backups from the backup store.";
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

/// Every kind that this program knows, for `FIND_IN_SET`; without a backup store, those that need none.
pub(super) fn known_kinds(has_backup_store: bool) -> String {
    list(|kind| has_backup_store || !kind.needs_backup_store())
}

/// The lanes in which many jobs wait at once, as the backups of all tenants do, for `FIND_IN_SET`. A job of any other
/// lane that waits for long shows that no worker is running.
pub fn lanes_that_queue() -> String {
    let lanes = Lane::ALL.iter().filter(|lane| lane.length() == Length::Queues);
    lanes.map(|lane| lane.as_str()).collect::<Vec<_>>().join(",")
}

/// The kinds whose retries show nothing but that their server is away, for `FIND_IN_SET`.
pub fn kinds_that_wait_for_a_server() -> String {
    list(JobKind::waits_for_its_server)
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
    fn words_of_lanes_are_unique_and_fit_their_column() {
        let words: std::collections::HashSet<_> = Lane::ALL.iter().map(|lane| lane.as_str()).collect();
        assert_eq!(words.len(), Lane::ALL.len());
        for word in words {
            assert!(word.len() <= 16 && word.chars().all(|c| c.is_ascii_lowercase()), "{word}");
        }
    }

    #[test]
    fn no_job_that_may_take_long_opens_or_closes_a_tenant() {
        let access: Vec<_> = JobKind::ALL.iter().filter(|kind| kind.lane() == Lane::Access).collect();
        assert_eq!(access, [&JobKind::Enforce]);
    }

    #[test]
    fn lists_for_sql_are_made_from_the_table() {
        assert_eq!(lanes_that_queue(), "long,bulk,surveys,migrations,backups,collections");
        assert_eq!(
            known_kinds(false),
            "provision,enforce,configure,purge,rotate,move,finish_move,migrate,audit,collect",
            "a restore needs the store as much as a backup"
        );
        assert_eq!(kinds_that_wait_for_a_server(), "collect");
        assert_eq!(kinds_that_block_nothing(), "enforce,configure,migrate,audit,backup,restore_test,prune,collect");
    }
}
