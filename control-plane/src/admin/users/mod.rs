//! Handlers of `/admin/users` and of `/api/signup`.

mod allowance;
pub mod create;
pub mod memberships;
pub mod search;
pub mod signup;
pub mod tokens;

pub use allowance::Allowance;
