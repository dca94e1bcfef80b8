//! Many members of a tenant in one request.

use super::members;
use crate::admin::answer::{Answer, answer};
use crate::admin::{BulkCaller, parse};
use crate::app::App;
use crate::commands::{MemberPut, Membership, PutMembers};
use axum::extract::State;
use axum::http::StatusCode;
use kernel::domain::{TenantId, UserId};
use kernel::http::{ApiError, ApiPath, Code};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashSet;
use utoipa::ToSchema;

/// The most members in one request. They are one unit, during which other commands wait.
const MOST: usize = 1000;

/// Body of `PUT /admin/tenants/{tenant_id}/users`: at most 256 KiB.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewMembers)]
pub struct NewMembers {
    #[schema(min_items = 1, max_items = 1000)]
    users: Vec<NewMember>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewMember {
    /// A user id. Like the role and the permissions, a wrong one is refused in the row of this user.
    user_id: String,
    /// `admin`, `user` or `viewer`.
    #[schema(example = "user")]
    role: String,
    /// Null, or an object for the application, of at most 8,192 bytes as JSON and 16 levels deep.
    #[serde(default)]
    permissions: Option<Value>,
}

/// What became of each user of the request.
#[derive(Serialize, ToSchema)]
struct PutAnswers {
    tenant_id: TenantId,
    /// In the order of the request.
    users: Vec<PutAnswer>,
}

#[derive(Clone, Serialize, ToSchema)]
struct PutAnswer {
    user_id: String,
    /// 200, or the status with which a request for this user alone would have been refused.
    status: u16,
    /// Whether the membership is new or was changed.
    changed: bool,
    /// Why the user was refused: an error code.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The wrong field.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// What is wrong with the field.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl PutAnswer {
    fn done(user_id: String, changed: bool) -> Self {
        Self { user_id, status: StatusCode::OK.as_u16(), changed, error: None, field: None, detail: None }
    }

    fn refused(user_id: String, error: &ApiError) -> Self {
        let member = |name| error.member(name).and_then(Value::as_str).map(str::to_owned);
        Self {
            user_id,
            status: error.code().status().as_u16(),
            changed: false,
            error: Some(error.code().name()),
            field: member("field"),
            detail: member("detail"),
        }
    }
}

/// Add up to 1,000 users to a tenant, or change their roles and permissions.
///
/// The answer has a row for each user of the request. A user that is refused does not keep the others from being put:
/// those are put together or, if the request fails as a whole, not at all.
#[utoipa::path(
    put, path = "/admin/tenants/{tenant_id}/users", tag = "members",
    request_body = NewMembers,
    params(("tenant_id" = TenantId, Path)),
    responses(
        (status = 200, description = "What became of each user", body = PutAnswers),
        (status = 404, description = "tenant_not_found"),
        (status = 409, description = "invalid_state"),
        (status = 422, description = "invalid_tenant_id, invalid_users"),
    ),
)]
pub async fn put_many(
    State(app): State<App>,
    ApiPath(tenant): ApiPath<String>,
    BulkCaller(caller): BulkCaller,
) -> Result<Answer, ApiError> {
    let NewMembers { users } = caller.json()?;
    let tenant_id = parse::tenant_id(&tenant)?;
    if !(1..=MOST).contains(&users.len()) {
        return Err(ApiError::invalid("users", "users", format!("1 to {MOST} users")));
    }
    let mut seen = HashSet::new();
    let mut members = Vec::new();
    let rows = users.into_iter().map(|user| match check(&user, &mut seen) {
        Ok(member) => {
            members.push(member);
            Ok(user.user_id)
        }
        Err(error) => Err(PutAnswer::refused(user.user_id, &error)),
    });
    let rows: Vec<_> = rows.collect();
    let put = PutMembers { tenant_id, members };
    let answers = |done: Vec<MemberPut>| {
        let mut done = done.into_iter();
        let users = rows.iter().map(|row| match row {
            Err(refused) => refused.clone(),
            Ok(user_id) => match done.next() {
                Some(MemberPut::Changed) => PutAnswer::done(user_id.clone(), true),
                Some(MemberPut::Unchanged) => PutAnswer::done(user_id.clone(), false),
                Some(MemberPut::NoSuchUser) | None => PutAnswer::refused(user_id.clone(), &Code::UserNotFound.into()),
            },
        });
        Answer::ok(PutAnswers { tenant_id: put.tenant_id.clone(), users: users.collect() })
    };
    answer(&app, &caller, &put, answers).await
}

fn check(user: &NewMember, seen: &mut HashSet<UserId>) -> Result<(UserId, Membership), ApiError> {
    let user_id = parse::user_id(&user.user_id)?;
    let membership = members::check(&user.role, user.permissions.clone())?;
    if !seen.insert(user_id.clone()) {
        return Err(ApiError::invalid("user_id", "user_id", "the request names this user twice"));
    }
    Ok((user_id, membership))
}
