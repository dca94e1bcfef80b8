//! What both APIs share: the error contract ([`ApiError`]), request ids and measurements ([`fn@edge`]), limits on
//! clients ([`serve`]), the listener for our own parts ([`serve_internal`]), and the OpenAPI document ([`openapi`]).

mod activity;
mod addresses;
mod body;
pub mod cursor;
mod edge;
mod error;
mod internal;
mod language;
mod limit;
mod list;
pub mod openapi;
mod proxies;
mod serve;
mod slow;
mod time;

pub use addresses::{Addresses, Admitted};
pub use body::{
    ApiJson, ApiPath, ApiQuery, MAX_BODY, MAX_BULK_BODY, idempotency_key, is_json, parse_json, read_body, without_mark,
};
pub use edge::{OfTenant, RequestId, edge};
pub use error::{ApiError, Code};
pub use internal::{internal_router, serve_internal};
pub use language::Language;
pub use limit::parse_limit;
pub use list::accepts;
pub use proxies::{TrustedProxies, network};
pub use serve::{HttpLimits, serve};
pub use time::{YEARS, parse_day, parse_time};
