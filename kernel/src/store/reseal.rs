//! [`reseal`]: seals stored texts again with the primary key; and which key each stored text uses.
//!
//! **Guarantees.** A row is replaced only if it still holds the text that was opened (compare and set), so a password
//! that is rotated in the meantime is never overwritten. Every row is a transaction of its own. If the process is
//! killed at any moment, each text still opens with a key of the ring, and another run continues with the remaining
//! texts.

use crate::crypto::{CryptoError, KeyRing, Purpose};
use sqlx::MySqlPool;
use std::collections::BTreeMap;

/// Rows that are read at once.
const BATCH: u32 = 100;

/// A column of sealed texts. Two columns identify a row, and the sealing is bound to their values.
#[derive(Clone, Copy)]
enum Column {
    Passwords,
    NextPasswords,
    Settings,
    Answers,
}

const COLUMNS: [Column; 4] = [Column::Passwords, Column::NextPasswords, Column::Settings, Column::Answers];

impl Column {
    fn table(self) -> &'static str {
        match self {
            Self::Passwords => "saas_tenant_databases",
            Self::NextPasswords => "saas_next_credentials",
            Self::Settings => "saas_tenant_settings",
            Self::Answers => "saas_idempotency_keys",
        }
    }

    fn purpose<'a>(self, (first, second): (&'a str, &'a str)) -> Purpose<'a> {
        match self {
            Self::Passwords | Self::NextPasswords => Purpose::TenantPassword { tenant_id: first, username: second },
            Self::Settings => Purpose::TenantSetting { tenant_id: first, key: second },
            Self::Answers => Purpose::Answer { actor: first, key: second },
        }
    }

    /// The query for the key ids, and the number of texts that each has sealed.
    fn count(self) -> &'static str {
        match self {
            Self::Passwords => {
                "SELECT CAST(SUBSTRING_INDEX(SUBSTRING_INDEX(db_password_encrypted, '.', 2), '.', -1) AS CHAR) AS k,
                        CAST(COUNT(*) AS UNSIGNED)
                 FROM saas_tenant_databases WHERE db_password_encrypted <> '' GROUP BY k"
            }
            Self::NextPasswords => {
                "SELECT CAST(SUBSTRING_INDEX(SUBSTRING_INDEX(db_password_encrypted, '.', 2), '.', -1) AS CHAR) AS k,
                        CAST(COUNT(*) AS UNSIGNED)
                 FROM saas_next_credentials WHERE db_password_encrypted <> '' GROUP BY k"
            }
            Self::Settings => {
                "SELECT CAST(SUBSTRING_INDEX(SUBSTRING_INDEX(sealed_value, '.', 2), '.', -1) AS CHAR) AS k,
                        CAST(COUNT(*) AS UNSIGNED)
                 FROM saas_tenant_settings WHERE sealed_value <> '' GROUP BY k"
            }
            Self::Answers => {
                "SELECT CAST(SUBSTRING_INDEX(SUBSTRING_INDEX(response_sealed, '.', 2), '.', -1) AS CHAR) AS k,
                        CAST(COUNT(*) AS UNSIGNED)
                 FROM saas_idempotency_keys WHERE response_sealed <> '' GROUP BY k"
            }
        }
    }

    /// The query for the rows after a given row whose text does not match a pattern.
    fn select(self) -> &'static str {
        match self {
            Self::Passwords => {
                "SELECT tenant_id, db_username, db_password_encrypted FROM saas_tenant_databases
                 WHERE (tenant_id > ? OR (tenant_id = ? AND db_username > ?))
                   AND db_password_encrypted <> '' AND db_password_encrypted NOT LIKE ?
                 ORDER BY tenant_id, db_username LIMIT ?"
            }
            Self::NextPasswords => {
                "SELECT tenant_id, db_username, db_password_encrypted FROM saas_next_credentials
                 WHERE (tenant_id > ? OR (tenant_id = ? AND db_username > ?))
                   AND db_password_encrypted <> '' AND db_password_encrypted NOT LIKE ?
                 ORDER BY tenant_id, db_username LIMIT ?"
            }
            Self::Settings => {
                "SELECT tenant_id, config_key, sealed_value FROM saas_tenant_settings
                 WHERE (tenant_id > ? OR (tenant_id = ? AND config_key > ?))
                   AND sealed_value <> '' AND sealed_value NOT LIKE ?
                 ORDER BY tenant_id, config_key LIMIT ?"
            }
            Self::Answers => {
                "SELECT CAST(actor AS CHAR), CAST(idempotency_key AS CHAR), response_sealed FROM saas_idempotency_keys
                 WHERE (actor > ? OR (actor = ? AND idempotency_key > ?))
                   AND response_sealed <> '' AND response_sealed NOT LIKE ?
                 ORDER BY actor, idempotency_key LIMIT ?"
            }
        }
    }

    /// The statement that replaces a text if the row still holds exactly the old one. `updated_at` is a projection and
    /// stays.
    fn replace(self) -> &'static str {
        match self {
            Self::Passwords => {
                "UPDATE saas_tenant_databases SET db_password_encrypted = ?, updated_at = updated_at
                 WHERE tenant_id = ? AND db_username = ? AND CAST(db_password_encrypted AS BINARY) = CAST(? AS BINARY)"
            }
            Self::NextPasswords => {
                "UPDATE saas_next_credentials SET db_password_encrypted = ?
                 WHERE tenant_id = ? AND db_username = ? AND CAST(db_password_encrypted AS BINARY) = CAST(? AS BINARY)"
            }
            Self::Settings => {
                "UPDATE saas_tenant_settings SET sealed_value = ?
                 WHERE tenant_id = ? AND config_key = ? AND CAST(sealed_value AS BINARY) = CAST(? AS BINARY)"
            }
            Self::Answers => {
                "UPDATE saas_idempotency_keys SET response_sealed = ?
                 WHERE actor = ? AND idempotency_key = ? AND CAST(response_sealed AS BINARY) = CAST(? AS BINARY)"
            }
        }
    }
}

/// The number of texts that one key has sealed, by table.
pub type Uses = BTreeMap<&'static str, u64>;

/// The table that says which key has sealed each backup's own key. The sealed text is in the backup store, where
/// `provisioner backup reseal` replaces it.
pub const BACKUPS: &str = "saas_backups";

/// The number of sealed texts that use each key, by key id.
pub async fn key_uses(pool: &MySqlPool) -> Result<BTreeMap<String, Uses>, sqlx::Error> {
    let mut uses: BTreeMap<String, Uses> = BTreeMap::new();
    for column in COLUMNS {
        let rows: Vec<(String, u64)> = sqlx::query_as(column.count()).fetch_all(pool).await?;
        for (key, texts) in rows {
            uses.entry(key).or_default().insert(column.table(), texts);
        }
    }
    let rows: Vec<(String, u64)> =
        sqlx::query_as("SELECT key_id, CAST(COUNT(*) AS UNSIGNED) FROM saas_backups GROUP BY key_id")
            .fetch_all(pool)
            .await?;
    for (key, backups) in rows {
        uses.entry(key).or_default().insert(BACKUPS, backups);
    }
    Ok(uses)
}

/// The result of resealing.
#[derive(Debug, Default)]
pub struct Resealed {
    /// Texts that were sealed again.
    pub done: u64,
    /// Texts that another process has replaced in the meantime. The new texts were not examined.
    pub overtaken: u64,
    /// Rows (`table first second`) whose text does not open, with the reason.
    pub closed: Vec<(String, CryptoError)>,
}

/// Seals texts of other keys again with the primary key, at most `limit` of them.
pub async fn reseal(pool: &MySqlPool, keys: &KeyRing, limit: u64) -> Result<Resealed, ResealError> {
    let mut ended = Resealed::default();
    let sealed_by_primary = format!("v1.{}.%", keys.primary_id());
    for column in COLUMNS {
        let (mut first, mut second) = (String::new(), String::new());
        loop {
            let rows: Vec<(String, String, String)> = sqlx::query_as(column.select())
                .bind(&first)
                .bind(&first)
                .bind(&second)
                .bind(&sealed_by_primary)
                .bind(BATCH)
                .fetch_all(pool)
                .await?;
            let last = rows.len() < BATCH as usize;
            for row in rows {
                if ended.done >= limit {
                    return Ok(ended);
                }
                let sealed = row.2;
                (first, second) = (row.0, row.1);
                let purpose = column.purpose((&first, &second));
                let plain = match keys.open(purpose, &sealed) {
                    Ok(plain) => plain,
                    Err(error) => {
                        ended.closed.push((format!("{} {first} {second}", column.table()), error));
                        continue;
                    }
                };
                let resealed = keys.seal(purpose, &plain)?;
                crate::process::failpoint::hit("reseal.before_replace").await;
                let replaced = sqlx::query(column.replace())
                    .bind(resealed)
                    .bind(&first)
                    .bind(&second)
                    .bind(&sealed)
                    .execute(pool)
                    .await?;
                match replaced.rows_affected() {
                    0 => ended.overtaken += 1,
                    _ => ended.done += 1,
                }
                crate::process::failpoint::hit("reseal.after_replace").await;
            }
            if last {
                break;
            }
        }
    }
    Ok(ended)
}

/// Why resealing stopped. Texts that were replaced before stay replaced.
#[derive(Debug, thiserror::Error)]
pub enum ResealError {
    /// The primary key may seal no more.
    #[error(transparent)]
    Key(#[from] CryptoError),
    /// The system database failed.
    #[error("the system database failed")]
    Database(#[from] sqlx::Error),
}
