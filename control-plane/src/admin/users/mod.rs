//! Handlers of `/admin/users` and of `/api/signup`.

pub mod create;
pub mod memberships;
pub mod search;
pub mod signup;
pub mod tokens;
