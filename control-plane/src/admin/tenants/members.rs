//! Members of a tenant: listed, added, changed, removed.

use crate::admin::answer::{Answer, answer};
use crate::admin::{Caller, parse, read};
use crate::app::App;
use crate::commands::{Membership, PutMember, RemoveMember};
use crate::cursor::Page;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, NaiveDateTime, Utc};
use kernel::domain::{Role, TenantId, UserId};
use kernel::http::{ApiError, ApiPath, ApiQuery};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// Longest permissions of a member, in bytes of their JSON: nodes cache them with the profile.
const MOST_BYTES: usize = 8192;

/// Deepest nesting of permissions. MariaDB accepts 32 levels in a column of type JSON.
const MOST_LEVELS: usize = 16;

/// Body of `PUT /admin/tenants/{tenant_id}/users/{user_id}`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Membership)]
pub struct NewMembership {
    #[schema(value_type = Role)]
    role: String,
    /// An object for the application, of at most 8,192 bytes as JSON and 16 levels deep.
    #[serde(default)]
    #[schema(value_type = Object, nullable)]
    permissions: Option<Value>,
}

impl NewMembership {
    fn check(self) -> Result<Membership, ApiError> {
        check(&self.role, self.permissions)
    }
}

/// The membership of this role and these permissions; `invalid_role` or `invalid_permissions` with what is wrong.
pub fn check(role: &str, permissions: Option<Value>) -> Result<Membership, ApiError> {
    let role = role.parse().map_err(|error| ApiError::invalid("role", "role", error))?;
    Ok(Membership { role, permissions: permissions.map(check_permissions).transpose()? })
}

/// Add a user to a tenant, or change their role and permissions.
#[utoipa::path(
    put, path = "/admin/tenants/{tenant_id}/users/{user_id}", tag = "members",
    request_body = NewMembership,
    params(("tenant_id" = TenantId, Path), ("user_id" = UserId, Path)),
    responses(
        (status = 200, description = "The membership", body = Member),
        (status = 404, description = "tenant_not_found, user_not_found"),
        (status = 409, description = "invalid_state"),
        (status = 422, description = "invalid_tenant_id, invalid_user_id, invalid_role, invalid_permissions"),
    ),
)]
pub async fn put(
    State(app): State<App>,
    ApiPath((tenant, user)): ApiPath<(String, String)>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    let body: NewMembership = caller.json()?;
    let (tenant_id, user_id) = (parse::tenant_id(&tenant)?, parse::user_id(&user)?);
    let put = PutMember { tenant_id, user_id, membership: body.check()? };
    let PutMember { tenant_id, user_id, membership: Membership { role, permissions } } = &put;
    let member = |()| Answer::ok(Member { tenant_id, user_id, role: *role, permissions });
    answer(&app, &caller, &put, member).await
}

/// `invalid_permissions`, with what is wrong.
fn check_permissions(permissions: Value) -> Result<Value, ApiError> {
    let refuse = |detail: String| Err(ApiError::invalid("permissions", "permissions", detail));
    if !permissions.is_object() {
        return refuse("a JSON object, or null".into());
    }
    if levels(&permissions) > MOST_LEVELS {
        return refuse(format!("nested deeper than {MOST_LEVELS} levels"));
    }
    match permissions.to_string().len() {
        bytes if bytes > MOST_BYTES => refuse(format!("{bytes} bytes as JSON, and {MOST_BYTES} are the most")),
        _ => Ok(permissions),
    }
}

/// How deep the value is nested. The parser bounds the depth, so this function may call itself.
fn levels(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(levels).max().unwrap_or_default(),
        Value::Object(members) => 1 + members.values().map(levels).max().unwrap_or_default(),
        _ => 0,
    }
}

/// The membership of a user in a tenant.
#[derive(Serialize, ToSchema)]
struct Member<'a> {
    tenant_id: &'a TenantId,
    user_id: &'a UserId,
    role: Role,
    #[schema(value_type = Object, nullable)]
    permissions: &'a Option<Value>,
}

/// Remove a user from a tenant.
#[utoipa::path(
    delete, path = "/admin/tenants/{tenant_id}/users/{user_id}", tag = "members",
    params(("tenant_id" = TenantId, Path), ("user_id" = UserId, Path)),
    responses(
        (status = 204, description = "Done"),
        (status = 404, description = "tenant_not_found, user_not_found"),
        (status = 409, description = "invalid_state"),
        (status = 422, description = "invalid_tenant_id, invalid_user_id"),
    ),
)]
pub async fn remove(
    State(app): State<App>,
    ApiPath((tenant, user)): ApiPath<(String, String)>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    let remove = RemoveMember { tenant_id: parse::tenant_id(&tenant)?, user_id: parse::user_id(&user)? };
    answer(&app, &caller, &remove, Answer::no_content).await
}

/// Query of `GET /admin/tenants/{tenant_id}/users`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Search {
    /// Only members in this role.
    #[param(value_type = Option<Role>)]
    role: Option<String>,
    /// Most rows of the page; 50 by default.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page of members.
#[derive(Serialize, ToSchema)]
pub struct Members {
    tenant_id: TenantId,
    users: Vec<MemberOfTenant>,
    /// Where the next page begins; null on the last one.
    next_cursor: Option<String>,
}

/// A member of a tenant.
#[derive(Serialize, ToSchema)]
struct MemberOfTenant {
    user_id: String,
    /// Null, like name and email, if the user no longer exists.
    username: Option<String>,
    name: Option<String>,
    email: Option<String>,
    role: String,
    #[schema(value_type = Object, nullable)]
    permissions: Option<Value>,
    joined_at: DateTime<Utc>,
}

/// The members of a tenant, in the order in which they joined.
#[utoipa::path(
    get, path = "/admin/tenants/{tenant_id}/users", tag = "members",
    params(("tenant_id" = TenantId, Path), Search),
    responses(
        (status = 200, description = "A page", body = Members),
        (status = 404, description = "tenant_not_found"),
        (status = 422, description = "invalid_tenant_id, invalid_role, invalid_limit, invalid_cursor"),
    ),
)]
pub async fn of_tenant(
    State(app): State<App>,
    ApiPath(tenant): ApiPath<String>,
    ApiQuery(search): ApiQuery<Search>,
    _: Caller,
) -> Result<Json<Members>, ApiError> {
    type Row = (u64, String, Option<String>, Option<String>, Option<String>, String, Option<String>, NaiveDateTime);
    let tenant_id = parse::tenant_id(&tenant)?;
    let page = Page::parse('m', search.limit.as_deref(), search.cursor.as_deref(), (50, 500))?;
    let role = search.role.map(|role| role.parse::<Role>().map_err(|error| ApiError::invalid("role", "role", error)));
    let role = role.transpose()?.map(Role::as_str);
    read::tenant(&app, &tenant_id).await?;
    // Of ids that differ in case only, the user is the one that is equal to the byte.
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT CAST(m.id AS UNSIGNED), m.user_id, u.username, u.name, u.email, COALESCE(m.role, ''),
                CAST(m.permissions AS CHAR), m.joined_at
         FROM saas_tenant_users m
         LEFT JOIN user_info u ON u.id = (SELECT MIN(one.id) FROM user_info one
              WHERE one.user_id = m.user_id AND CAST(one.user_id AS BINARY) = CAST(m.user_id AS BINARY))
         WHERE m.tenant_id = ? AND m.deleted = 0 AND m.status = 1 AND m.id > ? AND (? IS NULL OR m.role = ?)
         ORDER BY m.id LIMIT ?",
    )
    .bind(tenant_id.as_str())
    .bind(page.after)
    .bind(role)
    .bind(role)
    .bind(page.rows())
    .fetch_all(app.store.pool())
    .await?;
    let (rows, next_cursor) = page.cut(rows, |row| row.0);
    let users = rows.into_iter().map(|(_, user_id, username, name, email, role, permissions, joined_at)| {
        let permissions = permissions.and_then(|json| serde_json::from_str(&json).ok());
        MemberOfTenant { user_id, username, name, email, role, permissions, joined_at: joined_at.and_utc() }
    });
    Ok(Json(Members { tenant_id, users: users.collect(), next_cursor }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::http::Code;
    use serde_json::json;

    #[test]
    fn permissions_are_an_object_of_bounded_size_and_depth() {
        let nested = |levels: usize| (1..levels).fold(json!({}), |inner, _| json!({"a": inner}));
        for good in [json!({}), json!({"courses": ["a", "b"], "limit": 3}), nested(MOST_LEVELS)] {
            assert_eq!(check_permissions(good.clone()).unwrap(), good);
        }
        let longest = json!({"a": "x".repeat(MOST_BYTES - r#"{"a":""}"#.len())});
        assert!(check_permissions(longest).is_ok());
        for bad in [
            json!(["read"]),
            json!("read"),
            json!(7),
            json!(true),
            nested(MOST_LEVELS + 1),
            json!({"a": "x".repeat(MOST_BYTES)}),
        ] {
            let error = check_permissions(bad).unwrap_err();
            assert_eq!(
                (error.code(), error.member("field")),
                (Code::Invalid("permissions"), Some(&json!("permissions")))
            );
        }
    }
}
