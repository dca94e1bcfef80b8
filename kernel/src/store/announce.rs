//! Announcements to the data nodes of what is no tenant's event: a revoked session, a changed user.
//!
//! Nodes cache sessions and users. Each announcement raises a counter in `saas_heads` by one and writes, under the new
//! number, what it concerns into `saas_changes`. A node reads the rows after the number that it has seen, and forgets
//! just what they name. A number without a row is a gap, and then the node forgets everything of that kind. Gaps come
//! from programs that do not know the table, and from nodes that are too far behind. An operator who has changed rows
//! by hand makes one on purpose: `UPDATE saas_heads SET position = position + 1 WHERE name = 'sessions'` (or
//! `'users'`).

use crate::domain::UserId;
use sqlx::MySqlConnection;

/// How many announcements of a kind are stored. A node that is further behind forgets everything of that kind.
pub const STORED_ANNOUNCEMENTS: u64 = 10_000;

/// What an announcement concerns.
#[derive(Clone, Copy, Debug)]
pub enum Announcement<'a> {
    /// The session whose token has this SHA-256 digest, in hex.
    SessionRevoked { digest: &'a str },
    /// The names or addresses of a user.
    UserChanged(&'a UserId),
}

/// Announces a change in the transaction of `connection`. Until it ends, no other announcement of the kind is made, so
/// numbers are dense and in commit order.
pub async fn announce(connection: &mut MySqlConnection, what: Announcement<'_>) -> Result<(), sqlx::Error> {
    let (head, subject) = match what {
        Announcement::SessionRevoked { digest } => ("sessions", digest),
        Announcement::UserChanged(user_id) => ("users", user_id.as_str()),
    };
    let position = sqlx::query("UPDATE saas_heads SET position = LAST_INSERT_ID(position + 1) WHERE name = ?")
        .bind(head)
        .execute(&mut *connection)
        .await?
        .last_insert_id();
    sqlx::query("INSERT INTO saas_changes (head, position, subject) VALUES (?, ?, ?)")
        .bind(head)
        .bind(position)
        .bind(subject)
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM saas_changes WHERE head = ? AND position <= ?")
        .bind(head)
        .bind(position.saturating_sub(STORED_ANNOUNCEMENTS))
        .execute(connection)
        .await
        .map(drop)
}
