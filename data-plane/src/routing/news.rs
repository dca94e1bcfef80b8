//! [`News`]: what the follower learns in one statement: the heads, the settings of the installation, the plans, and
//! what has changed since a cursor.
//!
//! One statement for all of it, because each further round trip makes the node's knowledge older when the system
//! database is slow. It is one snapshot, so the changes are complete up to the heads, or a page is full.

use super::{Limits, Plan, Plans, Rate};
use kernel::crypto::tokens;
use kernel::domain::{Position, TenantId, UserId};
use kernel::store::installation::{self, Switches};
use kernel::store::{Heads, STORED_ANNOUNCEMENTS};
use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row};
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

/// The most events, and the most announcements of a kind, that one statement reads.
const PAGE: u64 = 1000;

/// A node that is further behind reads all tenants, and forgets all memberships.
const FAR_BEHIND: u64 = 20_000;

/// How far a node has read; `None`: it has read nothing yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursors {
    pub events: Option<Position>,
    pub sessions: Option<u64>,
    pub users: Option<u64>,
}

/// An event, as far as a node needs it.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    pub position: Position,
    pub tenant_id: Option<TenantId>,
    pub kind: String,
    /// The member that it concerns.
    pub user_id: Option<UserId>,
    /// How long ago it was appended, by the clock of the database.
    pub age: Duration,
}

impl Event {
    /// Whether it concerns members, and nothing of the tenant's route. By convention the types of such events begin so.
    pub fn is_of_members(&self) -> bool {
        self.kind.starts_with("tenant.member")
    }
}

/// What one statement tells.
#[derive(Default)]
pub struct News {
    pub heads: Heads,
    pub switches: Switches,
    pub plans: Plans,
    /// The oldest events after the cursor.
    pub events: Vec<Event>,
    /// The oldest revocations after the cursor, with the digests of their tokens.
    pub sessions: Vec<(u64, String)>,
    /// The oldest changes of users after the cursor, with their ids.
    pub users: Vec<(u64, String)>,
}

/// What has changed between a cursor and a head.
#[derive(Debug, PartialEq, Eq)]
pub enum Changed<T> {
    /// Just this, up to this position.
    These(Vec<T>, u64),
    /// It is not known what, up to the head.
    Anything,
}

// Every part gives each column the same explicit type. sqlx decodes a column by the type that the server reports when
// it prepares the statement, and MariaDB reports the types of the first part alone. The part of the events is the
// first one, because it has a value, and the widest one, in every column.
const NEWS: &str = "
    (SELECT CAST('event' AS CHAR), CAST(tenant_id AS CHAR), CAST(position AS UNSIGNED), CAST(event_type AS CHAR),
            CAST(IF(event_type LIKE 'tenant.member%', JSON_UNQUOTE(JSON_EXTRACT(data, '$.user_id')), NULL) AS CHAR),
            CAST(TIMESTAMPDIFF(MICROSECOND, occurred_at, UTC_TIMESTAMP(6)) AS SIGNED)
     FROM saas_events WHERE position > ? ORDER BY position LIMIT ?)
    UNION ALL
    (SELECT CAST('session' AS CHAR), CAST(NULL AS CHAR), CAST(position AS UNSIGNED), CAST(subject AS CHAR),
            CAST(NULL AS CHAR), CAST(NULL AS SIGNED)
     FROM saas_changes WHERE head = 'sessions' AND position > ? ORDER BY position LIMIT ?)
    UNION ALL
    (SELECT CAST('user' AS CHAR), CAST(NULL AS CHAR), CAST(position AS UNSIGNED), CAST(subject AS CHAR),
            CAST(NULL AS CHAR), CAST(NULL AS SIGNED)
     FROM saas_changes WHERE head = 'users' AND position > ? ORDER BY position LIMIT ?)
    UNION ALL
    SELECT CAST('head' AS CHAR), CAST(name AS CHAR), CAST(position AS UNSIGNED), CAST(NULL AS CHAR),
           CAST(NULL AS CHAR), CAST(NULL AS SIGNED)
    FROM saas_heads
    UNION ALL
    SELECT CAST('setting' AS CHAR), CAST(config_key AS CHAR), CAST(NULL AS UNSIGNED), CAST(config_value AS CHAR),
           CAST(NULL AS CHAR), CAST(NULL AS SIGNED)
    FROM saas_system_config WHERE config_key IN (?, ?, ?)
    UNION ALL
    SELECT CAST('plan' AS CHAR), CAST(plan_type AS CHAR), CAST(NULL AS UNSIGNED),
           CAST(JSON_ARRAY(request_concurrency, request_queue, request_rate, request_burst, max_connections) AS CHAR),
           CAST(NULL AS CHAR), CAST(NULL AS SIGNED)
    FROM saas_plans";

/// Reads the news after these cursors.
///
/// # Errors
/// Also if a row is not what this program reads. A refresh then fails; nothing is passed over.
pub async fn news(connection: &mut MySqlConnection, after: Cursors) -> Result<News, sqlx::Error> {
    let rows = sqlx::query(NEWS)
        // Without a cursor the node reads everything itself and needs no changes.
        .bind(after.events.map_or(u64::MAX, |position| position.0))
        .bind(PAGE)
        .bind(after.sessions.unwrap_or(u64::MAX))
        .bind(PAGE)
        .bind(after.users.unwrap_or(u64::MAX))
        .bind(PAGE)
        .bind(installation::SWITCHES[0])
        .bind(installation::SWITCHES[1])
        .bind(installation::SWITCHES[2])
        .fetch_all(connection)
        .await?;
    let mut news = News::default();
    let mut settings = Vec::new();
    for row in &rows {
        match text(row, 0)?.as_str() {
            "event" => news.events.push(event(row)?),
            "session" => news.sessions.push((number(row)?, text(row, 3)?)),
            "user" => news.users.push((number(row)?, text(row, 3)?)),
            "head" => news.heads.set(&text(row, 1)?, number(row)?),
            "setting" => settings.push((text(row, 1)?, optional_text(row, 3)?)),
            "plan" => {
                let (name, columns) = (text(row, 1)?, text(row, 3)?);
                let plan = plan(&columns)
                    .map_err(|error| sqlx::Error::Decode(format!("the plan {name} is unreadable: {error}").into()))?;
                news.plans.insert(name, plan);
            }
            kind => {
                return Err(sqlx::Error::Decode(format!("the news have a row of the unknown kind {kind:?}").into()));
            }
        }
    }
    news.switches = Switches::from_rows(&settings);
    Ok(news)
}

/// A text that is never NULL. Types are not checked, because MySQL declares some of these texts as binary.
fn text(row: &MySqlRow, column: usize) -> Result<String, sqlx::Error> {
    row.try_get_unchecked(column)
}

fn optional_text(row: &MySqlRow, column: usize) -> Result<Option<String>, sqlx::Error> {
    row.try_get_unchecked(column)
}

fn event(row: &MySqlRow) -> Result<Event, sqlx::Error> {
    let micros: i64 = row.try_get(5)?;
    Ok(Event {
        position: Position(number(row)?),
        tenant_id: id(optional_text(row, 1)?, "tenant"),
        kind: text(row, 3)?,
        user_id: id(optional_text(row, 4)?, "user"),
        age: Duration::from_micros(micros.max(0).unsigned_abs()),
    })
}

/// The id in a column, if there is one that this program can read. A newer one may write others: they must not stop the
/// node, and what an event without an id concerns is forgotten whole.
fn id<T: FromStr<Err: std::fmt::Display>>(text: Option<String>, of: &str) -> Option<T> {
    let text = text?;
    text.parse().inspect_err(|error| tracing::error!(%error, "the node cannot read the id of a {of} in an event")).ok()
}

fn number(row: &MySqlRow) -> Result<u64, sqlx::Error> {
    row.try_get(2)
}

/// Reads a plan from the JSON array of its columns.
fn plan(columns: &str) -> Result<Plan, serde_json::Error> {
    type Columns = (u32, u32, Option<u32>, Option<u32>, Option<u32>);
    let (concurrency, queue, rate, burst, max_connections): Columns = serde_json::from_str(columns)?;
    let rate = rate
        .and_then(NonZeroU32::new)
        .map(|per_second| Rate { per_second, burst: burst.and_then(NonZeroU32::new).unwrap_or(per_second) });
    Ok(Plan { limits: Limits { concurrency: concurrency.max(1), queue, rate }, max_connections })
}

impl<T> Changed<T> {
    /// Forgets what has changed, or everything of the kind. Returns the number up to which nothing old is left.
    pub fn forget(self, head: u64, one: impl Fn(&T), all: impl FnOnce()) -> u64 {
        match self {
            Self::These(changed, until) => {
                changed.iter().for_each(one);
                until
            }
            Self::Anything => {
                all();
                head
            }
        }
    }
}

impl News {
    /// The events after `cursor`. They are `Anything` if the log went back, if a position is missing, or if the node is
    /// far behind.
    pub fn events(&mut self, cursor: Option<Position>) -> Changed<Event> {
        let events = std::mem::take(&mut self.events);
        let rows = events.into_iter().map(|event| (event.position.0, event)).collect();
        changed(cursor.map(|position| position.0), self.heads.events.0, FAR_BEHIND, rows, Some)
    }

    /// The digests of tokens that were revoked after `cursor`.
    pub fn revoked(&mut self, cursor: Option<u64>) -> Changed<[u8; 32]> {
        let rows = std::mem::take(&mut self.sessions);
        changed(cursor, self.heads.sessions, STORED_ANNOUNCEMENTS, rows, |digest| tokens::read_digest(&digest))
    }

    /// The users that were changed after `cursor`.
    pub fn changed_users(&mut self, cursor: Option<u64>) -> Changed<UserId> {
        let rows = std::mem::take(&mut self.users);
        changed(cursor, self.heads.users, STORED_ANNOUNCEMENTS, rows, |user_id| user_id.parse().ok())
    }
}

/// What the rows after a cursor tell. Numbers are dense, so a missing one is a gap.
fn changed<R, T>(
    cursor: Option<u64>,
    head: u64,
    far: u64,
    rows: Vec<(u64, R)>,
    read: impl Fn(R) -> Option<T>,
) -> Changed<T> {
    let Some(behind) = cursor.and_then(|cursor| head.checked_sub(cursor)) else { return Changed::Anything };
    let first = head - behind + 1;
    let is_dense = (first..).zip(&rows).all(|(expected, (number, _))| expected == *number);
    if behind > far || !is_dense || rows.len() as u64 != behind.min(PAGE) {
        return Changed::Anything;
    }
    let until = first + rows.len() as u64 - 1;
    match rows.into_iter().map(|(_, row)| read(row)).collect() {
        Some(read) => Changed::These(read, until),
        None => {
            // A newer version may announce what this one cannot read.
            tracing::warn!(
                from = first,
                until,
                "the node cannot read what changes concern, and takes them for anything"
            );
            Changed::Anything
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(numbers: impl IntoIterator<Item = u64>) -> Vec<(u64, u64)> {
        numbers.into_iter().map(|number| (number, number * 10)).collect()
    }

    #[test]
    fn a_gap_means_that_anything_has_changed() {
        let of = |cursor, head, numbers: &[u64]| changed(cursor, head, 5000, rows(numbers.iter().copied()), Some);
        assert_eq!(of(Some(3), 3, &[]), Changed::These(vec![], 3));
        assert_eq!(of(Some(3), 5, &[4, 5]), Changed::These(vec![40, 50], 5));
        for (cursor, head, numbers, why) in [
            (None, 3, &[][..], "nothing was read before"),
            (Some(3), 2, &[], "the head went back"),
            (Some(3), 4, &[], "an older program announced it"),
            (Some(3), 5, &[4], "an older program made the second change"),
            (Some(3), 5, &[5], "an older program made the first change"),
            (Some(3), 6, &[4, 6], "an older program made the second change of three"),
            (Some(3), 9000, &[], "the rows were removed"),
        ] {
            assert_eq!(of(cursor, head, numbers), Changed::Anything, "{why}");
        }
        let unreadable = changed(Some(3), 4, 5000, rows([4]), |_| None::<u64>);
        assert_eq!(unreadable, Changed::Anything);
    }

    #[test]
    fn a_node_that_is_behind_reads_page_by_page() {
        let full = changed(Some(3), 4000, 5000, rows(4..4 + PAGE), Some);
        assert!(matches!(full, Changed::These(read, until) if read.len() as u64 == PAGE && until == 3 + PAGE));
        assert_eq!(changed(Some(3), 6000, 5000, rows(4..4 + PAGE), Some), Changed::Anything, "too far behind");
    }

    #[test]
    fn a_plan_is_read_from_its_columns() {
        let rate = |per_second: u32, burst: u32| {
            Some(Rate { per_second: per_second.try_into().unwrap(), burst: burst.try_into().unwrap() })
        };
        for (columns, limits, max_connections) in [
            ("[8, 64, null, null, null]", Limits::new(8, 64), None),
            ("[0, 0, 0, 5, 7]", Limits::new(1, 0), Some(7)),
            ("[2, 3, 10, null, null]", Limits { rate: rate(10, 10), ..Limits::new(2, 3) }, None),
            ("[2, 3, 10, 20, null]", Limits { rate: rate(10, 20), ..Limits::new(2, 3) }, None),
        ] {
            assert_eq!(plan(columns).unwrap(), Plan { limits, max_connections }, "{columns}");
        }
        assert!(plan("[]").is_err());
    }
}
