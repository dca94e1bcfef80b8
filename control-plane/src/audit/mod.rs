//! Audits: [`request`] has the provisioners compare the database servers with the events, and [`report`] shows what the
//! newest audit found. Showing it compares nothing.

pub mod report;
mod request;

pub use request::RequestAudit;
