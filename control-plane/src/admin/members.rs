//! Members: which user has which role in a tenant. Changes are events of the tenant.

use super::Caller;
use super::tenants::path_tenant_id;
use super::users::{path_user_id, require_user};
use crate::serve::App;
use crate::write::{Answer, Refusal, Write, answer};
use axum::extract::State;
use axum::http::StatusCode;
use kernel::domain::{Command, Role, TenantId, UserId};
use kernel::http::{ApiError, ApiPath, Code};
use kernel::store::UnitOfWork;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

/// Longest permissions of a member, in bytes of their JSON: nodes keep them with the profile.
const MOST_BYTES: usize = 8192;

/// Deepest nesting of them. MariaDB takes 32 levels in a column of type JSON.
const MOST_LEVELS: usize = 16;

/// Body of `PUT /admin/tenants/{tenant_id}/users/{user_id}`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    #[schema(value_type = Role)]
    role: String,
    /// What the application makes of it: an object of at most 8,192 bytes as JSON, nested 16 levels deep at most.
    #[serde(default)]
    #[schema(value_type = Object, nullable)]
    permissions: Option<Value>,
}

/// Add a user to a tenant, or change their role and permissions.
#[utoipa::path(put, path = "/admin/tenants/{tenant_id}/users/{user_id}", tag = "members", request_body = Membership, params(("tenant_id" = TenantId, Path), ("user_id" = UserId, Path)), responses(
    (status = 200, description = "The membership", body = Member),
    (status = 404, description = "tenant_not_found, user_not_found"),
    (status = 409, description = "invalid_state, conflict"),
    (status = 422, description = "invalid_tenant_id, invalid_user_id, invalid_role, invalid_permissions")))]
pub async fn put(
    State(app): State<App>,
    ApiPath((tenant, user)): ApiPath<(String, String)>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    let body: Membership = caller.json()?;
    let put = Put {
        tenant_id: path_tenant_id(&tenant)?,
        user_id: path_user_id(&user)?,
        role: body.role.parse().map_err(|error| ApiError::invalid("role", "role", error))?,
        permissions: body.permissions.map(check_permissions).transpose()?,
    };
    answer(&app, &caller, &put).await
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

/// How deep it is nested. The parser bounds it, so this may call itself.
fn levels(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(levels).max().unwrap_or_default(),
        Value::Object(members) => 1 + members.values().map(levels).max().unwrap_or_default(),
        _ => 0,
    }
}

/// What a user is in a tenant.
#[derive(Serialize, ToSchema)]
struct Member<'a> {
    tenant_id: &'a TenantId,
    user_id: &'a UserId,
    role: Role,
    #[schema(value_type = Object, nullable)]
    permissions: &'a Option<Value>,
}

struct Put {
    tenant_id: TenantId,
    user_id: UserId,
    role: Role,
    permissions: Option<Value>,
}

impl Write for Put {
    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Answer, Refusal> {
        if unit.tenant(&self.tenant_id).await?.is_none() {
            return Err(Code::TenantNotFound.into());
        }
        require_user(unit, &self.user_id).await?;
        let now = membership(unit, &self.tenant_id, &self.user_id).await?;
        if now.as_ref() != Some(&(self.role.as_str().to_owned(), self.permissions.clone())) {
            let command = Command::ChangeMember {
                user_id: self.user_id.clone(),
                role: self.role,
                permissions: self.permissions.clone(),
            };
            unit.execute(&self.tenant_id, actor, command).await?;
        }
        let Self { tenant_id, user_id, role, permissions } = self;
        Ok(Answer::new(StatusCode::OK, json!(Member { tenant_id, user_id, role: *role, permissions })))
    }
}

/// Take a user out of a tenant.
#[utoipa::path(delete, path = "/admin/tenants/{tenant_id}/users/{user_id}", tag = "members", params(("tenant_id" = TenantId, Path), ("user_id" = UserId, Path)), responses(
    (status = 204, description = "Done"),
    (status = 404, description = "tenant_not_found, user_not_found"),
    (status = 409, description = "invalid_state, conflict"),
    (status = 422, description = "invalid_tenant_id, invalid_user_id")))]
pub async fn remove(
    State(app): State<App>,
    ApiPath((tenant, user)): ApiPath<(String, String)>,
    caller: Caller,
) -> Result<Answer, ApiError> {
    answer(&app, &caller, &Remove { tenant_id: path_tenant_id(&tenant)?, user_id: path_user_id(&user)? }).await
}

struct Remove {
    tenant_id: TenantId,
    user_id: UserId,
}

impl Write for Remove {
    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Answer, Refusal> {
        if unit.tenant(&self.tenant_id).await?.is_none() {
            return Err(Code::TenantNotFound.into());
        }
        if membership(unit, &self.tenant_id, &self.user_id).await?.is_none() {
            return Err(Code::UserNotFound.into());
        }
        unit.execute(&self.tenant_id, actor, Command::RemoveMember { user_id: self.user_id.clone() }).await?;
        Ok(Answer::new(StatusCode::NO_CONTENT, Value::Null))
    }
}

async fn membership(
    unit: &mut UnitOfWork,
    tenant_id: &TenantId,
    user_id: &UserId,
) -> Result<Option<(String, Option<Value>)>, sqlx::Error> {
    // Exactly this user: the column's collation holds ids that differ in case equal.
    let row: Option<(String, Option<String>)> = sqlx::query_as(
        "SELECT role, CAST(permissions AS CHAR) FROM saas_tenant_users
         WHERE tenant_id = ? AND user_id = ? AND BINARY user_id = ? AND deleted = 0 AND status = 1",
    )
    .bind(tenant_id.as_str())
    .bind(user_id.as_str())
    .bind(user_id.as_str())
    .fetch_optional(unit.connection())
    .await?;
    Ok(row.map(|(role, permissions)| (role, permissions.and_then(|json| serde_json::from_str(&json).ok()))))
}

#[cfg(test)]
mod tests {
    use super::*;

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
