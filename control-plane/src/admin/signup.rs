//! Self sign-up: a stranger becomes a user, with a tenant of their own that they are admin of.
//!
//! It is served here and not by the data nodes, because it is a command: nodes hold no account that may write one. An
//! installation that wants it routes this one path to the control plane.
//!
//! **Guarantees.** Nothing happens unless `system.tenant_signup_enabled` is true. User, tenant, membership and token are one
//! unit, done once per `Idempotency-Key`. An address and the installation as a whole have so many an hour. The answer never
//! says whether a user exists: nobody else's row is looked at. It does say that a tenant id is taken, as its subdomain does.
//! A stranger brings no domain: it might be somebody else's.

use super::auth::Stranger;
use super::tenants::{self, CreateTenant, tenant_name};
use super::users::{self, IssueToken, NewUser};
use crate::serve::App;
use crate::write::{Answer, Refusal, Write, answer};
use axum::extract::State;
use axum::http::StatusCode;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use kernel::domain::{Command, Role, Tenant, TenantId, UserId};
use kernel::http::{ApiError, Code};
use kernel::process::config::{ConfigError, Settings};
use kernel::store::UnitOfWork;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use utoipa::ToSchema;

/// The plan of a tenant that signed up.
const PLAN: &str = "basic";

/// Addresses remembered before those that have a full allowance again are forgotten.
const ADDRESSES: usize = 10_000;

/// How many may sign up.
#[derive(Clone)]
pub struct Allowance {
    of_address: Arc<DefaultKeyedRateLimiter<IpAddr>>,
    of_all: Arc<DefaultDirectRateLimiter>,
}

impl Allowance {
    /// Reads `SIGNUPS_PER_ADDRESS_PER_HOUR` and `SIGNUPS_PER_HOUR`.
    pub fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        let hourly = |name| settings.get::<NonZeroU32>(name).map(Quota::per_hour);
        Ok(Self {
            of_address: Arc::new(RateLimiter::keyed(hourly("SIGNUPS_PER_ADDRESS_PER_HOUR")?)),
            of_all: Arc::new(RateLimiter::direct(hourly("SIGNUPS_PER_HOUR")?)),
        })
    }

    /// 429 with the seconds until the next one.
    fn take(&self, address: IpAddr) -> Result<(), ApiError> {
        if self.of_address.len() > ADDRESSES {
            self.of_address.retain_recent();
        }
        let now = DefaultClock::default().now();
        let refusal = match self.of_address.check_key(&network(address)) {
            Ok(()) => match self.of_all.check() {
                Ok(()) => return Ok(()),
                Err(until) => until.wait_time_from(now),
            },
            Err(until) => until.wait_time_from(now),
        };
        let seconds = u32::try_from(refusal.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        Err(ApiError::from(Code::TooManyRequests).retry_after(seconds))
    }
}

/// Whoever has an IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 => v4,
    }
}

/// Body of `POST /api/signup`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignUp {
    /// Of the tenant to be; also its subdomain.
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

/// What signing up gave.
#[derive(Serialize, ToSchema)]
struct SignedUp {
    tenant: Tenant,
    #[schema(format = "uuid")]
    operation_id: String,
    user_id: UserId,
    /// The user's session token, shown this once. The tenant API answers 503 with `Retry-After` until the tenant is ready.
    token: String,
    #[schema(format = DateTime)]
    expires_at: String,
}

/// Sign up: a user, a tenant, and the user as its admin. 404 unless the installation allows it.
#[utoipa::path(post, path = "/api/signup", tag = "signup", security(()), request_body = SignUp,
    params(("Idempotency-Key" = Option<String>, Header, description = "At least 16 characters, such as a UUID: whoever has it and repeats the request reads the answer")),
    responses(
    (status = 202, description = "Accepted", body = SignedUp),
    (status = 404, description = "not_found"),
    (status = 409, description = "tenant_exists, conflict"),
    (status = 422, description = "invalid_tenant_id, invalid_tenant_name, invalid_username, invalid_name, invalid_email, invalid_mobile, invalid_idempotency_key, idempotency_key_reused"),
    (status = 429, description = "too_many_requests"),
    (status = 503, description = "unavailable")))]
pub async fn sign_up(State(app): State<App>, stranger: Stranger) -> Result<Answer, ApiError> {
    if !is_enabled(&app).await.map_err(|error| ApiError::database(&error))? {
        return Err(Code::NotFound.into());
    }
    app.sign_ups.take(stranger.address)?;
    let SignUp { tenant_id, tenant_name: name_of_tenant, username, name, email, mobile } = stranger.caller.json()?;
    if email.is_empty() {
        return Err(ApiError::invalid("email", "email", "an address has an '@' between two parts"));
    }
    let user = NewUser { username, name, email, mobile };
    users::check_user(&user)?;
    let tenant = CreateTenant {
        tenant_id: tenants::path_tenant_id(&tenant_id)?,
        tenant_name: tenant_name(&name_of_tenant)?,
        domain: None,
        plan_type: PLAN.into(),
        ownership: None,
        patience: app.patience,
    };
    answer(&app, &stranger.caller, &Both { user, tenant }).await
}

async fn is_enabled(app: &App) -> Result<bool, sqlx::Error> {
    kernel::store::installation::allows_sign_up(app.store.pool()).await
}

struct Both {
    user: NewUser,
    tenant: CreateTenant,
}

impl Write for Both {
    async fn run(&self, unit: &mut UnitOfWork, actor: &str) -> Result<Answer, Refusal> {
        let accepted = self.tenant.run(unit, actor).await?;
        let user_id = users::insert(unit, &self.user).await?;
        let member = Command::ChangeMember { user_id: user_id.clone(), role: Role::Admin, permissions: None };
        unit.execute(&self.tenant.tenant_id, actor, member).await?;
        let issued = IssueToken::for_default_time(user_id).run(unit, actor).await?;
        let mut body = accepted.body;
        for part in ["user_id", "token", "expires_at"] {
            body[part] = issued.body.get(part).cloned().unwrap_or(Value::Null);
        }
        Ok(Answer::new(StatusCode::ACCEPTED, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_all_of_them_have_their_allowance() {
        let hourly = |count| Quota::per_hour(NonZeroU32::new(count).unwrap());
        let allowance = Allowance {
            of_address: Arc::new(RateLimiter::keyed(hourly(2))),
            of_all: Arc::new(RateLimiter::direct(hourly(3))),
        };
        let take = |address: &str| allowance.take(address.parse().unwrap()).is_ok();
        assert!(take("192.0.2.1") && take("::ffff:192.0.2.1"));
        assert!(!take("192.0.2.1"), "of the address");
        assert!(take("2001:db8::1"));
        assert!(!take("2001:db8::2"), "of all");
    }

    #[test]
    fn addresses_of_one_network_are_one() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
