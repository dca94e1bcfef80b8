//! Audits: [`request`] has the provisioners compare the database servers with the events, [`report`] shows the outcome,
//! and [`system_database`] finds what the system database alone shows.

pub mod report;
mod request;
pub mod system_database;

pub use request::RequestAudit;
