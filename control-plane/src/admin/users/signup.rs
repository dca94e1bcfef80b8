//! Self sign-up: a stranger becomes a user, with a tenant whose admin they are.
//!
//! The control plane serves it and not the data nodes, because it is a command: the nodes' account may not write one.
//! An installation that wants it routes this one path to the control plane.
//!
//! **Guarantees.** Nothing happens unless `system.tenant_signup_enabled` is true. User, tenant, membership and token
//! are one unit, done once per `Idempotency-Key`. An address and the whole installation have a number of sign-ups an
//! hour. Strangers have turns of their own, and what can be refused without the body is refused before it is read, so
//! strangers who send slowly delay no administrator. The answer never says whether a user exists: rows of other users
//! are not read. It does say that a tenant id is taken, as its subdomain does. A stranger brings no domain: it might
//! belong to another tenant.

use super::create::check_user;
use crate::admin::answer::{Answer, answer};
use crate::admin::auth::{Identity, Stranger};
use crate::admin::{AdminState, parse};
use crate::app::App;
use crate::commands::{self, CreateTenant, NewUser, SignedUp};
use axum::extract::{Request, State};
use kernel::domain::TenantId;
use kernel::http::{ApiError, Code};
use kernel::store::{Plan, installation, is_answered};
use serde::Deserialize;
use utoipa::ToSchema;

/// Body of `POST /api/signup`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignUp {
    /// The id of the new tenant; also its subdomain.
    #[schema(value_type = TenantId)]
    tenant_id: String,
    #[schema(min_length = 1, max_length = 100, example = "Acme")]
    tenant_name: String,
    #[schema(min_length = 1, max_length = 255, example = "ann")]
    username: String,
    #[serde(default)]
    #[schema(max_length = 255)]
    name: String,
    #[schema(min_length = 3, max_length = 255, example = "ann@example.com")]
    email: String,
    #[serde(default)]
    #[schema(max_length = 20)]
    mobile: String,
}

/// Sign up: a user, a tenant, and the user as its admin. 404 unless the installation allows it.
#[utoipa::path(
    post, path = "/api/signup", tag = "signup",
    security(()),
    request_body = SignUp,
    params(
        (
            "Idempotency-Key" = Option<String>,
            Header,
            description = "At least 16 characters, such as a UUID: a request with the same key gets the same answer, \
                token included",
        ),
    ),
    responses(
        (status = 202, description = "Accepted", body = SignedUp),
        (status = 404, description = "not_found"),
        (status = 409, description = "tenant_exists"),
        (
            status = 422,
            description = "invalid_tenant_id, invalid_tenant_name, invalid_username, invalid_name, invalid_email, \
                invalid_mobile, invalid_idempotency_key, idempotency_key_reused",
        ),
        (status = 429, description = "too_many_requests"),
        (status = 503, description = "unavailable"),
    ),
)]
pub async fn sign_up(State(state): State<AdminState>, request: Request) -> Result<Answer, ApiError> {
    let app = &state.app;
    let stranger = Stranger::of(&state, request)?;
    if !installation::allows_sign_up(app.store.pool()).await? {
        return Err(Code::NotFound.into());
    }
    let address = stranger.address;
    // A request that was answered before gets its answer, even if nothing is left of the allowance.
    if !is_repeated(app, stranger.key.as_deref()).await? {
        state.sign_ups.check(app.store.pool(), address).await?;
    }
    let caller = stranger.read().await?;
    let SignUp { tenant_id, tenant_name: name_of_tenant, username, name, email, mobile } = caller.json()?;
    let user = check_user(NewUser { username, name, email, mobile })?;
    if user.email.is_empty() {
        return Err(ApiError::invalid("email", "email", "an address is needed"));
    }
    let tenant = CreateTenant {
        tenant_id: parse::new_tenant_id(&tenant_id)?,
        tenant_name: parse::tenant_name(&name_of_tenant)?,
        domain: None,
        plan_type: Plan::DEFAULT.into(),
        ownership: None,
        patience: app.patience,
    };
    let sign_up = commands::SignUp { user, tenant, address, allowance: state.sign_ups };
    answer(app, &caller, &sign_up, Answer::accepted).await
}

/// Whether a request with this key was answered before.
async fn is_repeated(app: &App, key: Option<&str>) -> Result<bool, sqlx::Error> {
    match key {
        Some(key) => is_answered(app.store.pool(), &Identity::Stranger.actor(), key).await,
        None => Ok(false),
    }
}
