//! What several kinds of jobs do. A kind imports from here and never from another kind.

pub mod abandon;
pub mod append;
pub mod apply_config;
pub mod backup_job;
pub mod beside;
pub mod create_database;
pub mod create_user;
pub mod credential;
pub mod enforce;
pub mod nodes;
pub mod replace;
pub mod schema;
pub mod server_objects;
pub mod take_backup;
pub mod tenant_copy;
pub mod verify_login;
