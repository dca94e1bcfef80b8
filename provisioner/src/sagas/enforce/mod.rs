//! The saga of the kind `enforce`: makes the tenant's account agree with the tenant's state. It is repeated until it
//! succeeds, so that a suspended tenant is not left with an open account.

use super::saga::{PointOfNoReturn, Saga};
use super::shared::enforce;

pub const SAGA: Saga = Saga { point_of_no_return: PointOfNoReturn::AtStart, ..Saga::of_tenant(&[enforce::STEP]) };
