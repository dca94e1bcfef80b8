//! Every metric of every process: its name, its meaning and its labels. The names follow the conventions of Prometheus:
//! base units, and `_total` for counters. A test compares dashboards and alerts with this list.
//!
//! The values of labels are bounded: routes by the route table, tenants by `METRIC_TENANTS` (the others share `other`),
//! and all others by lists in the code.

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A number that only grows while the process runs.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// A distribution, with the upper bounds of its buckets in seconds.
    Histogram(&'static [f64]),
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The name in `/metrics`.
    pub name: &'static str,
    pub kind: Kind,
    /// The processes that have it: `control-plane`, `provisioner`, `data-plane`, `legacy` (the command `provisioner
    /// legacy`).
    pub of: &'static [&'static str],
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// The description in `/metrics`.
    pub help: &'static str,
}

/// Buckets for requests: from a cached answer to a request that is given up.
const REQUEST: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Buckets for work: from a step on an idle server to a collection for many tenants.
const WORK: &[f64] = &[0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];

const ALL_SERVICES: &[&str] = &["control-plane", "provisioner", "data-plane"];
const PROCESSES: &[&str] = &["control-plane", "provisioner", "data-plane", "legacy"];
const CONTROL: &[&str] = &["control-plane"];
const WORKER: &[&str] = &["provisioner"];
const NODE: &[&str] = &["data-plane"];
const MOVER: &[&str] = &["legacy"];
const SEALERS: &[&str] = &["control-plane", "provisioner"];

macro_rules! metrics {
    ($($constant:ident $name:literal $kind:expr, $of:ident, $labels:expr, $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: &str = $name;)*
        /// Every metric.
        pub const ALL: &[Metric] =
            &[$(Metric { name: $name, kind: $kind, of: $of, labels: &$labels, help: $help },)*];
    };
}

use Kind::{Counter, Gauge, Histogram};

metrics! {
    HTTP_REQUESTS "http_requests_total" Counter, ALL_SERVICES, ["method", "route", "status"],
        "Requests answered, by matched route and status";
    HTTP_REQUEST_DURATION "http_request_duration_seconds" Histogram(REQUEST), ALL_SERVICES,
        ["method", "route", "status"],
        "Time from a request's arrival to the begin of its answer";
    HTTP_CONNECTIONS "http_connections" Gauge, ALL_SERVICES, [],
        "Open connections of clients";
    HTTP_CONNECTIONS_CUT "http_connections_cut_total" Counter, ALL_SERVICES, [],
        "Connections that ended in an error: a client was too slow, sent too much, or went away";
    TENANT_STATEMENTS_ENDED "tenant_statements_ended_total" Counter, NODE, [],
        "Statements that were ended at the database server because their client had given up";
    TENANTS_OVER_STORAGE "tenants_over_storage" Gauge, WORKER, ["server"],
        "Tenants of a database server that use more storage than their plan allows";
    DOMAIN_VERIFICATIONS "domain_verifications_total" Counter, CONTROL, ["verdict"],
        "Checks of a domain's TXT record, by verdict: proven, no_record, wrong_value, unanswered";
    ACCESS_LOG_ROWS "access_log_rows_total" Counter, NODE, [], "Rows written to the access log";
    ACCESS_LOG_DROPPED "access_log_dropped_total" Counter, NODE, ["reason"],
        "Rows of the access log that were not written, by reason: rate, stranger, buffer, stopped, refused";
    HTTP_REQUESTS_IN_FLIGHT "http_requests_in_flight" Gauge, ALL_SERVICES, [],
        "Requests that are being answered";
    SYSTEM_DATABASE_CONNECTIONS "system_database_connections" Gauge, ALL_SERVICES, ["state"],
        "Connections of the process to the system database, by state: in_use, idle";
    SYSTEM_DATABASE_CONNECTIONS_LIMIT "system_database_connections_limit" Gauge, ALL_SERVICES, [],
        "Connections to the system database that the process may open";
    SYSTEM_DATABASE_UP "system_database_up" Gauge, ALL_SERVICES, [],
        "1: the system database answered the last query";
    SYSTEM_DATABASE_RESPONSE_DURATION "system_database_response_duration_seconds" Histogram(REQUEST), ALL_SERVICES, [],
        "Time of a small query of the system database, with the wait for a connection";
    COMPONENT_HEALTHY "component_healthy" Gauge, ALL_SERVICES, ["component"],
        "1: this part of the process works; 0: it does not, and the process is degraded or not ready";
    ENCRYPTION_KEY_SEALINGS "encryption_key_sealings" Gauge, SEALERS, [],
        "How often the primary encryption key has sealed, as far as counted";
    BUILD_INFO "build_info" Gauge, PROCESSES, ["service", "version"],
        "Always 1; the labels say which program this is";
    PROCESS_CPU "process_cpu_seconds_total" Counter, PROCESSES, [],
        "Processor time of the process, in user and system mode";
    PROCESS_RESIDENT_MEMORY "process_resident_memory_bytes" Gauge, PROCESSES, [],
        "Memory of the process that is in RAM";
    PROCESS_OPEN_FDS "process_open_fds" Gauge, PROCESSES, [],
        "Files and sockets that the process has open";
    PROCESS_MAX_FDS "process_max_fds" Gauge, PROCESSES, [],
        "Files and sockets that the process may have open";
    PROCESS_START_TIME "process_start_time_seconds" Gauge, PROCESSES, [],
        "When the process began, in seconds since 1970";

    EVENT_LOG_POSITION "event_log_position" Gauge, CONTROL, [],
        "Position of the newest event";
    RELAY_LAG_EVENTS "relay_lag_events" Gauge, CONTROL, [],
        "Events that are committed and not yet confirmed by the broker";
    RELAY_LAG_SECONDS "relay_lag_seconds" Gauge, CONTROL, [],
        "Age of the oldest of these events; 0 when there is none";
    RELAY_EVENTS_PUBLISHED "relay_events_published_total" Counter, CONTROL, [],
        "Events that the broker confirmed to this process";
    BROKER_UP "broker_up" Gauge, CONTROL, [],
        "1: the broker answered the last check of its queues";
    QUEUE_MESSAGES "queue_messages" Gauge, CONTROL, ["queue"],
        "Messages that wait in a shared queue of the broker";
    QUEUE_CONSUMERS "queue_consumers" Gauge, CONTROL, ["queue"],
        "Consumers of a shared queue of the broker";
    JOBS_OPEN "jobs_open" Gauge, CONTROL, ["kind", "status"],
        "Jobs that have not ended, by kind and status: pending, running";
    JOBS_OVERDUE "jobs_overdue" Gauge, CONTROL, [],
        "Jobs that were due a minute ago and that no worker holds";
    JOB_LANES_IDLE "job_lanes_idle" Gauge, CONTROL, [],
        "Queues of a database server in which jobs have been due for ten minutes and no worker has worked";
    JOBS_OLDEST_OPEN "jobs_oldest_open_seconds" Gauge, CONTROL, [],
        "Age of the oldest job that has not ended, but for those that only wait in a queue; 0 when there is none";
    TENANTS "tenants" Gauge, CONTROL, ["state"],
        "Tenants by state";
    TENANTS_BEHIND "tenants_behind_schema" Gauge, CONTROL, [],
        "Tenants whose database has an older schema than this version's";
    DATA_NODES "data_nodes" Gauge, CONTROL, ["status"],
        "Data nodes, by status: alive (reported recently), gone";
    BACKUP_OLDEST "backup_oldest_age_seconds" Gauge, CONTROL, [],
        "Age of the newest backup of the tenant or system database backed up longest ago; 0 without a backup store";
    BACKUP_TESTS_FAILED "backup_restore_tests_failed" Gauge, CONTROL, [],
        "Tenants whose newest tested backup could not be restored as it was taken";
    SCHEDULER_IS_LEADER "scheduler_is_leader" Gauge, CONTROL, [],
        "1: this process leads the schedules";
    SCHEDULE_RUNS "schedule_runs_total" Counter, CONTROL, ["schedule", "outcome"],
        "Runs of schedules by this process";

    DRIFT_FOUND "drift_found_total" Counter, WORKER, ["kind"],
        "Differences between database servers and events that audits found and did not repair";
    DRIFT_REPAIRED "drift_repaired_total" Counter, WORKER, ["kind"],
        "Differences that audits repaired";
    BACKUP_BYTES "backup_bytes_total" Counter, WORKER, [],
        "Bytes of backups that this process has stored; how they end is in jobs_total";
    JOBS "jobs_total" Counter, WORKER, ["kind", "outcome"],
        "Attempts of jobs, by kind and outcome: succeeded, failed, again, lost";
    JOB_DURATION "job_duration_seconds" Histogram(WORK), WORKER, ["kind"],
        "Time of an attempt of a job";
    JOB_STEPS "job_steps_total" Counter, WORKER, ["kind", "step", "outcome"],
        "Steps of jobs, by outcome: succeeded, failed, undone";
    JOB_STEP_DURATION "job_step_duration_seconds" Histogram(WORK), WORKER, ["kind", "step"],
        "Time of a step of a job";
    COLLECTIONS "collections_total" Counter, WORKER, ["outcome"],
        "Attempts to collect statistics of a database server: succeeded, failed (of some tenant), again, lost";
    COLLECTION_DURATION "collection_duration_seconds" Histogram(WORK), WORKER, [],
        "Time of such an attempt";
    TENANT_DATABASES "tenant_databases" Gauge, WORKER, ["server", "status"],
        "Tenant databases that should be served, as the last check found them: healthy, unhealthy";
    DATABASE_SERVER_UP "database_server_up" Gauge, WORKER, ["server"],
        "1: the tenants' database server answered the last check";
    TENANT_DATABASE_CHECK_DURATION "tenant_database_check_duration_seconds" Histogram(REQUEST), WORKER, ["server"],
        "Time of a login as a tenant's user with the smallest statement, of databases that answered";

    NODE_POSITION "node_position" Gauge, NODE, [],
        "Position of the event log that the routing table includes";
    NODE_FRESHNESS "node_freshness_seconds" Gauge, NODE, [],
        "Age of the routing table";
    NODE_STALE "node_stale" Gauge, NODE, [],
        "1: the system database cannot be reached, and known tenants are served";
    NODE_TENANTS "node_tenants" Gauge, NODE, ["served"],
        "Tenants in the routing table, by whether they are served";
    INVALIDATION_LAG "invalidation_lag_seconds" Histogram(REQUEST), NODE, [],
        "Time from an event to the routing table that includes it, by the database's clock";
    ROUTE_RELOADS "route_reloads_total" Counter, NODE, [],
        "Routes read again because of events";
    CACHE_LOOKUPS "cache_lookups_total" Counter, NODE, ["cache", "outcome"],
        "Cache look-ups before the system database is asked, by cache (session, member, profile) and outcome (hit, miss)";
    SESSIONS_EXTENDED "sessions_extended_total" Counter, NODE, [],
        "Sessions that were extended because they were used";
    LEGACY_SESSION_CHECKS "legacy_session_checks_total" Counter, NODE, ["said"],
        "Checks of legacy sessions in Redis, by answer";
    LEGACY_ERRORS "legacy_errors_total" Counter, NODE, ["code"],
        "Legacy calls answered with an error, by the code in the envelope";
    TENANT_CONNECTIONS_OPEN "tenant_connections_open" Gauge, NODE, [],
        "Connections to tenant databases that are open or being opened or closed";
    TENANT_CONNECTIONS_IN_USE "tenant_connections_in_use" Gauge, NODE, [],
        "Those of them that are not idle";
    TENANT_CONNECTIONS_BUDGET "tenant_connections_budget" Gauge, NODE, [],
        "Connections to tenant databases that this node may open";
    WAITS "request_waits_total" Counter, NODE, ["for"],
        "Requests that had to wait, by what for: turn (a tenant's permit), connection, lookup, stranger, profile";
    TENANT_REFUSALS "tenant_refusals_total" Counter, NODE, ["reason"],
        "Requests answered 503 because the tenant's database could not be used in time, by reason";
    TENANT_REQUESTS "tenant_requests_total" Counter, NODE, ["tenant_id", "class"],
        "Requests of a tenant, by class of status (2xx, 4xx, 5xx)";
    TENANT_REQUEST_DURATION "tenant_request_duration_seconds" Histogram(REQUEST), NODE, ["tenant_id"],
        "Time of a tenant's requests";
    IMPORT_ROWS "import_rows_total" Counter, MOVER, ["work"],
        "Rows of the old database that were worked on: importing, comparing, verifying, recording members";
    IMPORT_BYTES "import_bytes_total" Counter, MOVER, ["work"],
        "Bytes of these rows, as text";
    IMPORT_TABLES "import_tables_total" Counter, MOVER, ["work"],
        "Tables that are done";
    IMPORT_ROWS_EXPECTED "import_rows_expected" Gauge, MOVER, ["work"],
        "Rows there are to work on, as the server estimates them";
    IMPORT_REMAINING "import_remaining_seconds" Gauge, MOVER, ["work"],
        "Time the rest will take at the rate so far";
    IMPORT_FAILURES "import_failures_total" Counter, MOVER, ["reason"],
        "Failures that ended the command: refused, stopped, database, server, event, setting, file";
    NOTICEBOARD_WRITES "noticeboard_writes_total" Counter, WORKER, ["outcome"],
        "Notices for Redis, by outcome: put_up, failed";
}

/// The label that names a tenant, and its bound.
pub mod tenants {
    use std::collections::HashSet;
    use std::sync::{OnceLock, RwLock};

    static KNOWN: OnceLock<(usize, RwLock<HashSet<String>>)> = OnceLock::new();

    /// Sets how many tenants get a label value of their own: the first ones that are seen.
    pub fn limit(most: usize) {
        let _ = KNOWN.set((most, RwLock::default()));
    }

    /// The label value of a tenant: its id, or `other` beyond the limit.
    pub fn label(tenant_id: &str) -> String {
        let Some((most, known)) = KNOWN.get() else { return "other".into() };
        let seen = |known: &HashSet<String>| known.contains(tenant_id);
        // Once the limit is reached, no request takes the write lock.
        match known.read() {
            Ok(known) if seen(&known) => return tenant_id.to_owned(),
            Ok(known) if known.len() < *most => {}
            _ => return "other".into(),
        }
        match known.write() {
            Ok(mut known) if known.len() < *most || seen(&known) => {
                known.insert(tenant_id.to_owned());
                tenant_id.to_owned()
            }
            _ => "other".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_prometheus() {
        let mut seen = std::collections::HashSet::new();
        for Metric { name, kind, help, labels, .. } in ALL {
            assert!(seen.insert(name), "{name} twice");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert_eq!(*kind == Counter, name.ends_with("_total"), "{name}");
            assert!(!matches!(kind, Histogram(_)) || name.ends_with("_seconds"), "{name}");
            assert!(!help.is_empty() && !help.ends_with('.'), "{name}");
            assert!(labels.iter().all(|label| !matches!(*label, "le" | "quantile" | "job" | "instance")), "{name}");
        }
    }

    #[test]
    fn tenants_beyond_the_limit_share_a_label() {
        tenants::limit(2);
        let labels: Vec<_> = ["a", "b", "c", "a", "d"].map(tenants::label).into();
        assert_eq!(labels, ["a", "b", "other", "a", "other"]);
    }
}
