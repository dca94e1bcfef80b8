//! The saga of the kind `migrate`: brings a tenant's database to the newest schema while it is in service.
//!
//! **Guarantees.** Tenant migrations only add: programs of the version before work with the database while it is
//! migrated and afterwards, so no node has to wait, and a job that fails leaves nothing to undo. The files are applied
//! one by one and each may be repeated. After each file the ownership marker records the schema, and then an event,
//! `tenant.schema_migrated`; a worker that takes the job over begins there. A statement that has to wait for a table
//! gives up soon, because every later statement on the table waits behind it.

mod migrate_schema;

use super::saga::Saga;

pub const SAGA: Saga = Saga::of_tenant(&[migrate_schema::STEP]);
