//! Clients of the public APIs, written as an outside program would write them: they know nothing but the contract.

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
