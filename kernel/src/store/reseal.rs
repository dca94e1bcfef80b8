//! Where sealed texts are kept, which key each was sealed with, and sealing them anew with the primary one.
//!
//! **Guarantees.** A row is replaced only if it still holds the very text that was opened (compare and set), so a
//! password that is rotated meanwhile is never overwritten. Every row is a transaction of its own: killed at any moment,
//! each text opens with a key of the ring, and running again goes on with what is left.

use crate::crypto::{CryptoError, KeyRing, Purpose};
use sqlx::MySqlPool;
use std::collections::BTreeMap;

/// Rows read at once.
const BATCH: u32 = 100;

/// A column of sealed texts. Each row has two names, which the sealing is bound to.
#[derive(Clone, Copy)]
enum Place {
    Passwords,
    NextPasswords,
    Settings,
    Answers,
}

const PLACES: [Place; 4] = [Place::Passwords, Place::NextPasswords, Place::Settings, Place::Answers];

impl Place {
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

    /// Key ids, and how many texts were sealed with each.
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

    /// Names and texts of rows after a row, without those whose text is like a pattern.
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

    /// Another text, if the row still has this one to the byte. `updated_at` is folded from events and stays.
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

/// How many texts each table has of one key.
pub type Uses = BTreeMap<&'static str, u64>;

/// The table that says which key each backup's own key is sealed with. The sealed text is in the backup store, where `provisioner backup
/// reseal` replaces it.
pub const BACKUPS: &str = "saas_backups";

/// How many sealed texts use each key, by key id.
pub async fn key_uses(pool: &MySqlPool) -> Result<BTreeMap<String, Uses>, sqlx::Error> {
    let mut uses: BTreeMap<String, Uses> = BTreeMap::new();
    for place in PLACES {
        let rows: Vec<(String, u64)> = sqlx::query_as(place.count()).fetch_all(pool).await?;
        for (key, texts) in rows {
            uses.entry(key).or_default().insert(place.table(), texts);
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

/// What came of sealing anew.
#[derive(Debug, Default)]
pub struct Resealed {
    /// Texts sealed anew.
    pub done: u64,
    /// Texts that somebody else replaced meanwhile; what they hold now was not looked at.
    pub overtaken: u64,
    /// Rows (`table first second`) whose text does not open, and why.
    pub closed: Vec<(String, CryptoError)>,
}

/// Seals with the primary key what was sealed with another, up to `limit` texts.
pub async fn reseal(pool: &MySqlPool, keys: &KeyRing, limit: u64) -> Result<Resealed, ResealError> {
    let mut ended = Resealed::default();
    let fine = format!("v1.{}.%", keys.primary_id());
    for place in PLACES {
        let (mut first, mut second) = (String::new(), String::new());
        loop {
            let rows: Vec<(String, String, String)> = sqlx::query_as(place.select())
                .bind(&first)
                .bind(&first)
                .bind(&second)
                .bind(&fine)
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
                let purpose = place.purpose((&first, &second));
                let plain = match keys.open(purpose, &sealed) {
                    Ok(plain) => plain,
                    Err(error) => {
                        ended.closed.push((format!("{} {first} {second}", place.table()), error));
                        continue;
                    }
                };
                let anew = keys.seal(purpose, &plain)?;
                crate::process::failpoint::hit("reseal.before_replace").await;
                let replaced = sqlx::query(place.replace())
                    .bind(anew)
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

/// Why sealing anew stopped. What was done is done.
#[derive(Debug, thiserror::Error)]
pub enum ResealError {
    /// The primary key may seal no more.
    #[error(transparent)]
    Key(#[from] CryptoError),
    /// The system database failed.
    #[error("the system database failed")]
    Database(#[from] sqlx::Error),
}
