//! The error contract: `{"error": code, "message": text, "request_id": id, ...}`.
//!
//! The codes are a closed list, and a code has the same message everywhere. A handler may add the name of a field, a
//! detail in our own words (never a database's), and members that the contract names. The cause of an internal error is
//! logged here, once, and not shown to the client.

use super::Language;
use crate::error::chain;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use std::fmt::Display;

macro_rules! codes {
    ($($name:ident $status:literal $code:literal $english:literal $chinese:literal;)*) => {
        /// Every error code of both APIs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $english] $name,)*
            /// A part of the request is not valid: `invalid_<what>`, 422, with the field named.
            Invalid(&'static str),
        }

        impl Code {
            /// Every code with a fixed name.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The HTTP status.
            pub fn status(self) -> StatusCode {
                let number: u16 = match self { $(Self::$name => $status,)* Self::Invalid(_) => 422 };
                StatusCode::from_u16(number).expect("the table has valid numbers")
            }

            /// The code as the client sees it.
            pub fn name(self) -> String {
                match self {
                    $(Self::$name => $code.to_owned(),)*
                    Self::Invalid(what) => format!("invalid_{what}"),
                }
            }

            /// The message for the user.
            pub fn message(self, language: Language) -> &'static str {
                match (self, language) {
                    $((Self::$name, Language::English) => $english, (Self::$name, Language::Chinese) => $chinese,)*
                    (Self::Invalid(_), Language::English) => "A part of the request is not valid",
                    (Self::Invalid(_), Language::Chinese) => "请求中有无效的内容",
                }
            }
        }
    };
}

codes! {
    BadRequest 400 "bad_request" "The request can not be understood" "无法理解该请求";
    InvalidHost 400 "invalid_host" "The Host header is not valid" "Host 请求头无效";
    TenantRequired 400 "tenant_required" "A valid tenant is needed" "需要有效的租户上下文";
    Unauthenticated 401 "unauthenticated" "A valid token is needed" "需要有效的令牌";
    AdminRequired 403 "admin_required" "Administrator rights are needed" "需要系统管理员权限";
    UserNotInTenant 403 "user_not_in_tenant" "The user does not belong to this tenant" "用户不属于该租户";
    TenantSuspended 403 "tenant_suspended" "This tenant is suspended" "该租户已停用";
    NotFound 404 "not_found" "There is nothing here" "请求的资源不存在";
    TenantNotFound 404 "tenant_not_found" "There is no such tenant" "租户不存在";
    UserNotFound 404 "user_not_found" "There is no such user" "用户不存在";
    OperationNotFound 404 "operation_not_found" "There is no such operation" "操作不存在";
    DomainNotFound 404 "domain_not_found" "The tenant does not have this domain" "该租户没有此域名";
    PlanNotFound 404 "plan_not_found" "There is no such plan" "套餐不存在";
    ConfigNotFound 404 "config_not_found" "There is no such entry in the configuration" "没有该配置项";
    ScheduleNotFound 404 "schedule_not_found" "There is no such schedule" "计划任务不存在";
    MethodNotAllowed 405 "method_not_allowed" "This method is not possible here" "不支持该请求方法";
    RequestTimeout 408 "request_timeout" "The request did not come in time" "请求未能及时送达";
    UserExists 409 "user_exists" "Another user has this value" "该值已被其他用户使用";
    ConfigReadOnly 409 "config_read_only" "This entry of the configuration cannot be changed" "该配置项不可修改";
    TenantExists 409 "tenant_exists" "A tenant with this id exists or existed" "租户标识已存在";
    DomainUnverified 409 "domain_unverified" "The domain does not have its TXT record" "域名尚未设置所需的 TXT 记录";
    DomainTaken 409 "domain_taken" "The domain belongs to another tenant" "域名已被其他租户占用";
    PlanInUse 409 "plan_in_use" "Tenants have this plan; give them another one first" "仍有租户使用该套餐，请先更换";
    TenantIsDefault 409 "tenant_is_default" "The default tenant stays; name another one first" "请先指定其他默认租户";
    DomainPresent 409 "domain_exists" "The tenant has this domain already" "该租户已有此域名";
    InvalidState 409 "invalid_state" "The tenant's present state does not allow this" "租户当前状态不允许该操作";
    Conflict 409 "conflict" "Somebody else changed the same thing at the same time; try again" "数据同时被他人修改，请重试";
    OperationInProgress 409 "operation_in_progress" "An operation of this tenant is still in progress" "该租户有操作正在进行";
    PreconditionFailed 412 "precondition_failed" "The tenant has another version" "租户版本与请求不符";
    TooLarge 413 "too_large" "The request is too large" "请求过大";
    UnsupportedMediaType 415 "unsupported_media_type" "The body must be application/json" "请求体必须为 application/json";
    IdempotencyMismatch 422 "idempotency_key_reused" "This Idempotency-Key was used for another request" "该 Idempotency-Key 已用于其他请求";
    RateLimited 429 "rate_limited" "This tenant sends more requests than its plan allows; try again later" "该租户的请求超过套餐限额，请稍后重试";
    TooManyRequests 429 "too_many_requests" "Too many requests; try again later" "请求过多，请稍后重试";
    Internal 500 "internal" "Something went wrong on our side" "服务内部错误";
    TenantUnavailable 503 "tenant_unavailable" "This tenant can not be served right now" "租户服务不可用";
    TenantMaintenance 503 "tenant_maintenance" "This tenant is under maintenance" "租户正在维护";
    Unavailable 503 "unavailable" "The service can not answer right now; try again" "服务暂不可用，请重试";
}

/// An error for a client. The outermost layer ([`super::edge`]) writes it in the client's language.
#[derive(Clone, Debug)]
pub struct ApiError {
    code: Code,
    members: Map<String, Value>,
    retry_after: Option<u32>,
}

impl From<Code> for ApiError {
    fn from(code: Code) -> Self {
        let retry_after =
            matches!(code.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS).then_some(1);
        Self { code, members: Map::new(), retry_after }
    }
}

impl From<sqlx::Error> for ApiError {
    /// What [`ApiError::database`] makes of it.
    fn from(error: sqlx::Error) -> Self {
        Self::database(&error)
    }
}

impl ApiError {
    /// 422 `invalid_<what>`. `field` is the name that the client used, and `detail` says what is wrong.
    pub fn invalid(what: &'static str, field: &str, detail: impl Display) -> Self {
        Self::from(Code::Invalid(what)).with("field", field).with("detail", detail.to_string())
    }

    /// 500. The cause is logged and not shown to the client.
    pub fn internal(cause: &dyn std::error::Error) -> Self {
        tracing::error!(cause = %chain(cause), "a request failed");
        Code::Internal.into()
    }

    /// The answer when a database failed: 503 if it could not be reached or was busy, else 500. The cause is logged.
    pub fn database(cause: &sqlx::Error) -> Self {
        if crate::database::is_unreachable(cause) || crate::database::is_contention(cause) {
            tracing::warn!(cause = %chain(cause), "a database did not answer");
            Code::Unavailable.into()
        } else {
            Self::internal(cause)
        }
    }

    /// Adds a member to the body.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Sets `Retry-After`, in seconds.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    pub fn code(&self) -> Code {
        self.code
    }

    /// A member of the body.
    pub fn member(&self, name: &str) -> Option<&Value> {
        self.members.get(name)
    }

    /// `Retry-After` in seconds, if set.
    pub fn seconds_to_retry(&self) -> Option<u32> {
        self.retry_after
    }

    /// The response for a client.
    pub fn render(self, language: Language, request_id: &str) -> Response {
        let mut body = Map::new();
        body.insert("error".into(), self.code.name().into());
        body.insert("message".into(), self.code.message(language).into());
        body.insert("request_id".into(), request_id.into());
        body.extend(self.members);
        let mut response = (self.code.status(), Json(body)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code == Code::Unauthenticated {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_code_is_unique_and_has_both_languages() {
        let names: HashSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.message(Language::English).is_ascii());
            assert!(!code.message(Language::Chinese).is_ascii());
        }
    }

    #[test]
    fn every_503_and_429_has_a_retry_after_header() {
        for code in Code::ALL.iter().filter(|code| code.status() == 503 || code.status() == 429) {
            let response = ApiError::from(*code).render(Language::English, "r");
            assert!(response.headers().contains_key(header::RETRY_AFTER), "{code:?}");
        }
    }
}
