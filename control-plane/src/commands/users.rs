//! Users, who exist once for all tenants.
//!
//! **Guarantees.** A new user or a change by an administrator is refused if it takes a username, an email or a mobile
//! number that another user has. Such commands run one at a time, under the row that counts changes of users. A change
//! is announced in its transaction. Every node reads announcements with the head of the event log, at least twice a
//! second, and then forgets the user's profile. Users who share a value already stay as they are: old installations
//! have some. A stranger who [signs up](super::SignUp) does not learn which values others have.

use super::{Refusal, Write};
use chrono::{DateTime, Utc};
use kernel::domain::UserId;
use kernel::http::{ApiError, Code};
use kernel::store::{Announcement, UnitOfWork, announce};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, MySql, MySqlConnection, QueryBuilder};
use utoipa::ToSchema;

/// A user.
#[derive(Serialize, FromRow, ToSchema)]
pub struct User {
    #[serde(skip)]
    id: u64,
    user_id: String,
    /// Its name for logging in. Old installations have users who share one.
    username: String,
    name: String,
    email: String,
    mobile: String,
    user_language: Option<String>,
    created: DateTime<Utc>,
    updated: DateTime<Utc>,
}

impl User {
    /// All users, without a condition.
    pub const SELECT: &str = "SELECT CAST(id AS UNSIGNED) AS id, user_id, username, name, email, mobile, user_language,
        created, updated FROM user_info";

    /// The row's number, in the order of creation.
    pub fn number(&self) -> u64 {
        self.id
    }
}

/// The user of exactly this id: the column's collation holds ids that differ in case equal.
pub async fn find_user(connection: &mut MySqlConnection, user_id: &UserId) -> Result<Option<User>, sqlx::Error> {
    sqlx::query_as(&format!("{} WHERE user_id = ? AND BINARY user_id = ? ORDER BY id LIMIT 1", User::SELECT))
        .bind(user_id.as_str())
        .bind(user_id.as_str())
        .fetch_optional(connection)
        .await
}

/// `user_not_found` unless the user exists.
pub async fn require_user(unit: &mut UnitOfWork, user_id: &UserId) -> Result<(), Refusal> {
    let found: Option<i64> =
        sqlx::query_scalar("SELECT id FROM user_info WHERE user_id = ? AND BINARY user_id = ? LIMIT 1")
            .bind(user_id.as_str())
            .bind(user_id.as_str())
            .fetch_optional(unit.connection())
            .await?;
    found.map(drop).ok_or(Code::UserNotFound.into())
}

/// Body of `POST /admin/users`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    #[schema(min_length = 1, max_length = 255, example = "ann")]
    pub username: String,
    #[serde(default)]
    #[schema(max_length = 255)]
    pub name: String,
    #[serde(default)]
    #[schema(max_length = 255, example = "ann@example.com")]
    pub email: String,
    #[serde(default)]
    #[schema(max_length = 20)]
    pub mobile: String,
}

impl Write for NewUser {
    type Done = Option<User>;

    async fn run(&self, unit: &mut UnitOfWork, _: &str) -> Result<Option<User>, Refusal> {
        // The lock of this row makes commands that give users values wait for each other.
        sqlx::query("SELECT position FROM saas_heads WHERE name = 'users' FOR UPDATE")
            .execute(unit.connection())
            .await?;
        for (field, value) in [("username", &self.username), ("email", &self.email), ("mobile", &self.mobile)] {
            require_free(unit, field, value, None).await?;
        }
        let user_id = insert_user(unit, self).await?;
        Ok(find_user(unit.connection(), &user_id).await?)
    }
}

/// Inserts a user whose values were checked, without comparing them with those of other users.
pub async fn insert_user(unit: &mut UnitOfWork, user: &NewUser) -> Result<UserId, sqlx::Error> {
    let user_id = UserId::generate();
    sqlx::query("INSERT INTO user_info (user_id, username, name, email, mobile) VALUES (?, ?, ?, ?, ?)")
        .bind(user_id.as_str())
        .bind(&user.username)
        .bind(&user.name)
        .bind(&user.email)
        .bind(&user.mobile)
        .execute(unit.connection())
        .await?;
    Ok(user_id)
}

/// Body of `PATCH /admin/users/{user_id}`: what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    #[serde(default)]
    #[schema(min_length = 1, max_length = 255)]
    pub username: Option<String>,
    #[serde(default)]
    #[schema(max_length = 255)]
    pub name: Option<String>,
    #[serde(default)]
    #[schema(max_length = 255)]
    pub email: Option<String>,
    #[serde(default)]
    #[schema(max_length = 20)]
    pub mobile: Option<String>,
    /// Such as `zh-CN`.
    #[serde(default)]
    #[schema(max_length = 30)]
    pub user_language: Option<String>,
}

pub struct ChangeUser {
    pub user_id: UserId,
    pub change: UserChange,
}

impl Write for ChangeUser {
    type Done = Option<User>;

    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Option<User>, Refusal> {
        // The announcement locks the row that makes commands which give users values wait for each other.
        announce(unit.connection(), Announcement::UserChanged(&self.user_id)).await?;
        let now = find_user(unit.connection(), &self.user_id).await?.ok_or(Code::UserNotFound)?;
        let UserChange { username, name, email, mobile, user_language } = &self.change;
        for (field, new, present) in
            [("username", username, &now.username), ("email", email, &now.email), ("mobile", mobile, &now.mobile)]
        {
            if let Some(new) = new.as_ref().filter(|new| *new != present) {
                require_free(unit, field, new, Some(now.number())).await?;
            }
        }
        sqlx::query(
            "UPDATE user_info SET username = COALESCE(?, username), name = COALESCE(?, name),
                    email = COALESCE(?, email), mobile = COALESCE(?, mobile),
                    user_language = COALESCE(?, user_language)
             WHERE id = ?",
        )
        .bind(username)
        .bind(name)
        .bind(email)
        .bind(mobile)
        .bind(user_language)
        .bind(now.number())
        .execute(unit.connection())
        .await?;
        tracing::info!(actor, user_id = %self.user_id, "a user was changed");
        Ok(find_user(unit.connection(), &self.user_id).await?)
    }
}

/// Adds the condition that a user has this username, email or mobile number. Case makes no difference, and everything
/// else does: the collation of the columns, by which the index finds the rows, also holds letters with and without an
/// accent equal, and any emoji. Blanks at the end, which old rows may have, make no difference to either.
pub fn push_same_value(query: &mut QueryBuilder<'_, MySql>, column: &'static str, value: String) {
    query.push(format_args!(" AND {column} = ")).push_bind(value.clone());
    query
        .push(format_args!(" AND CAST(LOWER(RTRIM({column})) AS BINARY) = CAST(LOWER("))
        .push_bind(value)
        .push(") AS BINARY)");
}

/// `user_exists` with the field named, if a user other than number `of` has the value. The empty value is always free.
async fn require_free(
    unit: &mut UnitOfWork,
    column: &'static str,
    value: &str,
    of: Option<u64>,
) -> Result<(), Refusal> {
    if value.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::new("SELECT CAST(id AS UNSIGNED) FROM user_info WHERE id <> ");
    query.push_bind(of.unwrap_or_default());
    push_same_value(&mut query, column, value.to_owned());
    query.push(" LIMIT 1");
    let taken: Option<u64> = query.build_query_scalar().fetch_optional(unit.connection()).await?;
    match taken {
        None => Ok(()),
        Some(_) => Err(ApiError::from(Code::UserExists).with("field", column).into()),
    }
}
