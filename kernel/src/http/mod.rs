//! What both APIs have in common: one error contract, request ids, limits, measurements.

mod body;
mod edge;
mod error;
mod language;
pub mod openapi;

pub use body::{ApiJson, ApiPath, ApiQuery, MAX_BODY, idempotency_key, is_json, parse_json};
pub use edge::{OfTenant, RequestId, edge};
pub use error::{ApiError, Code, chain};
pub use language::Language;
