#![doc = include_str!("../README.md")]

pub mod audit;
pub mod broker;
pub mod crypto;
pub mod database;
pub mod default_tenant;
pub mod domain;
pub mod error;
pub mod http;
pub mod jobs;
pub mod lease;
pub mod process;
pub mod start;
pub mod statistics;
pub mod store;
