//! Audits: [`request`] asks the provisioners to compare the database servers with the events, [`report`] shows what came of it,
//! [`kept`] is what the system database alone shows, and this file is the command that has all three and the projections.

mod command;
pub mod kept;
pub mod report;
pub mod request;

pub use command::{Options, run};
