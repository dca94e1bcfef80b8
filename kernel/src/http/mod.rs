//! What both APIs share: the error contract ([`ApiError`]), request ids and measurements ([`fn@edge`]), limits on
//! clients ([`serve`]), and the OpenAPI document ([`openapi`]).

mod body;
mod edge;
mod error;
mod language;
mod limit;
pub mod openapi;
mod proxies;
mod serve;
mod slow;

pub use body::{ApiJson, ApiPath, ApiQuery, MAX_BODY, MAX_BULK_BODY, idempotency_key, is_json, parse_json, read_body};
pub use edge::{OfTenant, RequestId, edge};
pub use error::{ApiError, Code};
pub use language::Language;
pub use limit::parse_limit;
pub use proxies::TrustedProxies;
pub use serve::{HttpLimits, serve};
