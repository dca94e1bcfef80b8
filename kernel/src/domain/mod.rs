//! The rules of a tenant's life. This module has no I/O, so it can be tested with values alone.
//!
//! Text from outside is parsed into a type once ([`TenantId`], [`DomainName`], [`UserId`], [`Role`], [`SettingKey`],
//! [`VisibleText`]) and never checked again. [`Tenant::decide`] answers a [`Command`] on the current [`Tenant`] with
//! events or a [`Rejection`], and [`Tenant::apply`] folds events into the next state. The store writes events and state
//! in one transaction.

mod command;
mod decide;
mod domain_name;
mod event;
mod exact_number;
#[cfg(test)]
mod life_tests;
mod position;
mod setting;
mod tenant;
mod tenant_id;
mod tenant_state;
mod user;
mod visible_text;

pub use command::{Command, Rejection};
pub use domain_name::{DomainName, Host, InvalidDomain, host_in_ascii, is_port};
pub use event::{DeletionCertificate, RecordedEvent, Repair, RestoredFrom, TenantEvent};
pub use exact_number::inexact_number;
pub use position::{Position, Version};
pub use setting::{InvalidKey, MAX_VALUE, SettingKey, SettingType};
pub use tenant::{BeforeDeletion, Database, LONGEST_NAME, PendingDomain, Tenant};
pub use tenant_id::{DATABASE_PREFIX, InvalidTenantId, TenantId};
pub use tenant_state::TenantState;
pub use user::{InvalidUserId, Role, UnknownRole, UserId};
pub use visible_text::{InvisibleText, VisibleText};
