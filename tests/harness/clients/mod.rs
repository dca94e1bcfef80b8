//! Clients of the public APIs, as an outside program would write them: they know the contract and nothing else.

mod admin;
pub mod balancer;
mod call;
mod contract;
mod tenant_api;
pub mod wire;

pub use admin::{Admin, Live};
pub use call::Reply;
pub use contract::{Created, Event, NewUser, Operation, Step, Tenant};
pub use tenant_api::TenantApi;
