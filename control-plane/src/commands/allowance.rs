//! [`SignUpAllowance`]: how many strangers may sign up: so many an hour from an address, and so many in all.
//!
//! **Guarantee.** Accepted sign-ups of the whole installation count, whichever process accepted them and however often
//! it was started since. An attempt that is refused counts for nothing.

use kernel::http::{ApiError, Code, network};
use kernel::process::config::{ConfigError, Settings};
use sqlx::{MySqlConnection, MySqlExecutor};
use std::net::IpAddr;
use std::num::NonZeroU32;

/// Rows that have ceased to count, which a sign-up removes. More than one, so that a lower limit takes effect in time.
const REMOVED: u32 = 100;

/// How many sign-ups of an hour are accepted.
#[derive(Clone, Copy, Debug)]
pub struct SignUpAllowance {
    of_address: NonZeroU32,
    of_all: NonZeroU32,
}

/// The sign-ups of the last hour: of an address, and in all.
#[derive(sqlx::FromRow)]
struct Accepted {
    of_address: i64,
    of_all: i64,
    /// Seconds until the oldest of the address no longer counts.
    wait_of_address: i64,
    /// Seconds until the oldest of all no longer counts.
    wait_of_all: i64,
}

impl SignUpAllowance {
    /// Reads `SIGNUPS_PER_ADDRESS_PER_HOUR` and `SIGNUPS_PER_HOUR`.
    pub fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        Ok(Self {
            of_address: settings.get("SIGNUPS_PER_ADDRESS_PER_HOUR")?,
            of_all: settings.get("SIGNUPS_PER_HOUR")?,
        })
    }

    /// 429 with the seconds until the next sign-up if nothing is left for the address.
    pub async fn check(&self, executor: impl MySqlExecutor<'_>, address: IpAddr) -> Result<(), ApiError> {
        let accepted: Accepted = sqlx::query_as(
            "SELECT CAST(COALESCE(SUM(address = ?), 0) AS SIGNED) AS of_address, COUNT(*) AS of_all,
                    3600 - COALESCE(TIMESTAMPDIFF(SECOND, MIN(IF(address = ?, accepted_at, NULL)), UTC_TIMESTAMP(6)), 0)
                        AS wait_of_address,
                    3600 - COALESCE(TIMESTAMPDIFF(SECOND, MIN(accepted_at), UTC_TIMESTAMP(6)), 0) AS wait_of_all
             FROM saas_sign_ups WHERE accepted_at > UTC_TIMESTAMP(6) - INTERVAL 1 HOUR",
        )
        .bind(stored(address))
        .bind(stored(address))
        .fetch_one(executor)
        .await?;
        let seconds = match accepted {
            Accepted { of_address, wait_of_address, .. } if of_address >= i64::from(self.of_address.get()) => {
                wait_of_address
            }
            Accepted { of_all, wait_of_all, .. } if of_all >= i64::from(self.of_all.get()) => wait_of_all,
            _ => return Ok(()),
        };
        let seconds = u32::try_from(seconds).unwrap_or(0).saturating_add(1);
        Err(ApiError::from(Code::TooManyRequests).retry_after(seconds))
    }

    /// Takes one sign-up, in the transaction that accepts it. The caller has appended an event in this transaction, so
    /// no other sign-up is between its check and its commit.
    pub async fn take(&self, connection: &mut MySqlConnection, address: IpAddr) -> Result<(), ApiError> {
        self.check(&mut *connection, address).await?;
        sqlx::query("INSERT INTO saas_sign_ups (address, accepted_at) VALUES (?, UTC_TIMESTAMP(6))")
            .bind(stored(address))
            .execute(&mut *connection)
            .await?;
        sqlx::query("DELETE FROM saas_sign_ups WHERE accepted_at < UTC_TIMESTAMP(6) - INTERVAL 1 HOUR LIMIT ?")
            .bind(REMOVED)
            .execute(connection)
            .await?;
        Ok(())
    }
}

fn stored(address: IpAddr) -> String {
    network(address).to_string()
}
