//! [`OrderStats`]: totals over all orders of a user. The database computes them, unless the page shows all orders
//! anyway.

use crate::values::{Moment, Money};
use serde::Serialize;
use sqlx::Row;
use sqlx::mysql::MySqlRow;
use utoipa::ToSchema;

/// The status of a paid order.
const PAID: i16 = 502;

/// Over all orders of a user, whatever the page.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct OrderStats {
    total_orders: i64,
    paid_orders: i64,
    #[schema(value_type = Money)]
    total_spent: String,
    last_order_date: Moment,
}

impl OrderStats {
    /// Computes the totals from all orders of a user, newest first, each with its status, paid amount and time. `None`:
    /// an amount does not have two decimals, so the database must compute the totals.
    pub fn of<'r>(orders: impl Iterator<Item = (i16, Money<'r>, Moment)>) -> Option<Self> {
        let (mut total_orders, mut paid_orders, mut spent, mut last_order_date) = (0, 0, 0_i64, Moment(None));
        for (status, paid_price, created_at) in orders {
            if total_orders == 0 {
                last_order_date = created_at;
            }
            total_orders += 1;
            if status == PAID {
                paid_orders += 1;
                spent = spent.checked_add(paid_price.hundredths()?)?;
            }
        }
        let (sign, amount) = (if spent < 0 { "-" } else { "" }, spent.unsigned_abs());
        let total_spent = format!("{sign}{}.{:02}", amount / 100, amount % 100);
        Some(Self { total_orders, paid_orders, total_spent, last_order_date })
    }

    /// Reads the totals that the database computed: the four members in this order.
    pub fn read(row: &MySqlRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            total_orders: row.try_get(0)?,
            paid_orders: row.try_get(1)?,
            total_spent: row.try_get::<Money<'_>, _>(2)?.to_string(),
            last_order_date: row.try_get(3)?,
        })
    }
}
