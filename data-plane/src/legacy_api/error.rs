//! [`LegacyError`]: the error codes of the legacy application, with its numbers.

use kernel::http::{ApiError, Code, Language};

/// Why a legacy call failed. Every error has HTTP status 200 and a `code` other than 0.
#[derive(Clone, Debug)]
pub enum LegacyError {
    /// 1001: this installation did not issue the token, or its user is no member.
    NoUser,
    /// 1004: the request has no token.
    NotLoggedIn,
    /// 1005: the session has expired or was revoked.
    TokenExpired,
    /// 401: the data belongs to another user.
    NoPermission,
    /// 2001: a field of the body is wrong.
    Parameter(String),
    /// 404: there is no such course.
    ShifuNotFound,
    /// 400, 413 or 415: the HTTP layer refused the request.
    Http(Code),
    /// -1: anything else.
    Unexpected {
        /// Seconds after which the client may try again, if known.
        retry_after: Option<u32>,
    },
}

impl LegacyError {
    /// An internal error. The cause is logged and not shown to the client.
    pub fn broken(cause: &sqlx::Error) -> Self {
        ApiError::internal(cause).into()
    }

    /// The number in the envelope.
    pub fn code(&self) -> i32 {
        match self {
            Self::NoUser => 1001,
            Self::NotLoggedIn => 1004,
            Self::TokenExpired => 1005,
            Self::NoPermission => 401,
            Self::Parameter(_) => 2001,
            Self::ShifuNotFound => 404,
            Self::Http(code) => code.status().as_u16().into(),
            Self::Unexpected { .. } => -1,
        }
    }

    /// The message for the user.
    pub fn message(&self, language: Language) -> String {
        let (english, chinese) = match self {
            Self::NoUser => ("User not found", "用户不存在"),
            Self::NotLoggedIn => ("User not logged in", "用户未登录"),
            Self::TokenExpired => ("The login has expired, please log in again", "登录已过期，请重新登录"),
            Self::NoPermission => ("No permission", "没有权限"),
            Self::Parameter(field) => {
                return match language {
                    Language::English => format!("Invalid parameter: {field}"),
                    Language::Chinese => format!("参数错误：{field}"),
                };
            }
            // The legacy application has this message in English only.
            Self::ShifuNotFound => ("Shifu not found", "Shifu not found"),
            Self::Http(code) => return code.message(language).to_owned(),
            Self::Unexpected { .. } => {
                ("Something unexpected happened, please try again later", "系统异常，请稍后重试")
            }
        };
        match language {
            Language::English => english,
            Language::Chinese => chinese,
        }
        .to_owned()
    }
}

impl From<ApiError> for LegacyError {
    fn from(error: ApiError) -> Self {
        match error.code() {
            Code::Unauthenticated => Self::TokenExpired,
            Code::UserNotInTenant | Code::UserNotFound => Self::NoUser,
            Code::AdminRequired => Self::NoPermission,
            Code::Invalid(_) | Code::IdempotencyMismatch => {
                Self::Parameter(error.member("field").and_then(|field| field.as_str()).unwrap_or_default().to_owned())
            }
            code @ (Code::BadRequest | Code::TooLarge | Code::UnsupportedMediaType) => Self::Http(code),
            code => {
                tracing::debug!(code = code.name(), "a legacy call failed");
                Self::Unexpected { retry_after: error.seconds_to_retry() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_code_has_a_legacy_number() {
        for (code, number) in [
            (Code::UserNotInTenant, 1001),
            (Code::Unauthenticated, 1005),
            (Code::AdminRequired, 401),
            (Code::IdempotencyMismatch, 2001),
            (Code::UnsupportedMediaType, 415),
            (Code::TooLarge, 413),
            (Code::TenantSuspended, -1),
            (Code::TenantUnavailable, -1),
            (Code::Internal, -1),
        ] {
            assert_eq!(LegacyError::from(ApiError::from(code)).code(), number, "{code:?}");
        }
        let parameter = LegacyError::from(ApiError::invalid("price", "price", "no"));
        assert_eq!(parameter.message(Language::English), "Invalid parameter: price");
        let busy = LegacyError::from(ApiError::from(Code::TenantUnavailable));
        assert!(matches!(busy, LegacyError::Unexpected { retry_after: Some(1) }));
    }
}
