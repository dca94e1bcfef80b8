//! A legacy AI-Shifu database as a company may have it: the real schema, any number of rows, and every oddity that
//! such a database was found to have or can have.
//!
//! - [`schema`]: makes the database, in each generation that exists;
//! - [`columns`]: what its tables consist of, as the server says;
//! - [`fill`]: ordinary rows, the same for the same seed ([`random`], [`ordinary`], [`literal`]);
//! - [`oddities`]: the rows that break careless migrators, each with its name;
//! - [`destination`]: where each table is to be found in the new system;
//! - [`checksum`]: what a table holds, to the byte, whatever the order of its rows.
//!
//! Nothing here shares code with the migrator: two programs that agree because of the same mistake would prove
//! nothing.

pub mod checksum;
pub mod columns;
pub mod destination;
pub mod fill;
pub mod literal;
pub mod oddities;
pub mod ordinary;
#[cfg(test)]
mod own_tests;
pub mod random;
pub mod schema;
