//! Both public APIs: what they accept, what they answer, and what they refuse by name.

mod bad_input;
mod history;
mod new_orders;
mod openapi;
mod past;
mod session_tokens;
mod tokens;
mod user_routes;
