//! The saga of the kind `configure`: writes a tenant's requested configuration into its database. It is repeated until
//! it succeeds, because the configuration is recorded already.

use super::saga::{PointOfNoReturn, Saga};
use super::shared::apply_config;

pub const SAGA: Saga = Saga { point_of_no_return: PointOfNoReturn::AtStart, ..Saga::of_tenant(&[apply_config::STEP]) };
