//! `control-plane keys`: replaces the keys that seal secrets, while the services run.
//!
//! Keys live in the environment of the processes (`ENCRYPTION_KEYS`) and nowhere else, so these commands print the next
//! value on standard output and everything else on standard error. They read the present value where every process
//! does.

use super::{FOUND, system_pool};
use anyhow::Context;
use chrono::{NaiveDateTime, SubsecRound};
use clap::Subcommand;
use kernel::crypto::{KeyRing, RingText, SEALINGS_LIMIT, SEALINGS_WARNING};
use kernel::process::config::Settings;
use kernel::store::{BACKUPS, Uses, key_uses, reseal};
use secrecy::ExposeSecret;
use serde::Serialize;
use sqlx::MySqlPool;
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

/// The order in which a key is replaced; also in the README.
pub const HELP: &str = "To replace a key, in this order:
  1. keys add k2       put the printed value into ENCRYPTION_KEYS of every process and restart it
  2. keys promote k2   the same again: from here on k2 seals, and every process can open it
  3. keys reseal       seals with k2 what was sealed with another key; `provisioner backup reseal` does so in backups
  4. keys retire k1    refused while anything needs k1; then put the printed value in place
At no time is there a text that a process cannot open. Step 2 must not begin before step 1 has reached every process,
nor step 3 before step 2 has.";

#[derive(Subcommand)]
#[command(after_help = HELP)]
pub enum KeysCommand {
    /// Show the keys, which one seals, and what is sealed with each; never the keys themselves.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a key and print the ring with it at the end: it opens and does not seal yet.
    Add {
        /// A new id: 1 to 16 of a-z, 0-9 and -.
        id: String,
    },
    /// Print the ring with this key first: it seals.
    Promote {
        /// A key of the ring.
        id: String,
    },
    /// Seal with the primary key what was sealed with another. Can be killed and repeated at any moment.
    ///
    /// Exit codes: 0 done, 4 some texts do not open with the ring.
    Reseal {
        /// Reseal at most so many texts now.
        #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
        limit: u64,
    },
    /// Print the ring without this key.
    ///
    /// Exit codes: 0 done, 4 something is still sealed with it.
    Retire {
        /// A key of the ring that does not seal.
        id: String,
    },
}

pub async fn run(settings: &Settings, command: KeysCommand) -> anyhow::Result<ExitCode> {
    let text = settings.secret("ENCRYPTION_KEYS")?;
    let mut ring = RingText::parse(&text).context("the setting ENCRYPTION_KEYS is wrong")?;
    let keys = KeyRing::parse(&text).context("the setting ENCRYPTION_KEYS is wrong")?;
    match command {
        KeysCommand::List { json } => return list(&system_pool(settings, 1)?, &keys, json).await,
        KeysCommand::Reseal { limit } => return reseal_all(&system_pool(settings, 1)?, &keys, limit).await,
        KeysCommand::Add { id } => ring.add(&id)?,
        KeysCommand::Promote { id } => ring.promote(&id)?,
        KeysCommand::Retire { id } => {
            ring.retire(&id)?;
            let pool = system_pool(settings, 1)?;
            let uses = key_uses(&pool).await?.remove(&id).unwrap_or_default();
            let texts: u64 = uses.values().sum();
            if texts > 0 {
                eprintln!("{texts} texts are still sealed with {id}: {}", in_words(&uses));
                eprintln!("run `control-plane keys reseal` first; nothing was printed");
                if uses.contains_key(BACKUPS) {
                    eprintln!("and `provisioner backup reseal`, which seals the keys of backups");
                }
                return Ok(ExitCode::from(FOUND));
            }
            warn_of_stragglers(&pool, &id).await?;
        }
    }
    eprintln!("the next value of ENCRYPTION_KEYS, a secret, is on standard output");
    println!("{}", ring.text().expose_secret());
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Key {
    key_id: String,
    in_ring: bool,
    primary: bool,
    /// How many texts need it, by table.
    texts: Uses,
    /// How often it has sealed, as far as counted.
    sealings: u64,
    last_sealed_at: Option<NaiveDateTime>,
}

async fn list(pool: &MySqlPool, keys: &KeyRing, json: bool) -> anyhow::Result<ExitCode> {
    let mut uses = key_uses(pool).await?;
    let counts: Vec<(String, u64, NaiveDateTime)> =
        sqlx::query_as("SELECT key_id, sealed, last_sealed_at FROM saas_encryption_counts").fetch_all(pool).await?;
    let counts: BTreeMap<_, _> = counts.into_iter().map(|(id, sealed, at)| (id, (sealed, at))).collect();
    let others: BTreeSet<&str> = uses.keys().chain(counts.keys()).map(String::as_str).collect();
    let ids: Vec<String> = keys
        .ids()
        .chain(others.into_iter().filter(|id| keys.ids().all(|known| known != *id)))
        .map(str::to_owned)
        .collect();
    let listed = ids.into_iter().map(|id| Key {
        in_ring: keys.ids().any(|known| known == id),
        primary: id == keys.primary_id(),
        texts: uses.remove(&id).unwrap_or_default(),
        sealings: counts.get(&id).map_or(0, |(sealed, _)| *sealed),
        last_sealed_at: counts.get(&id).map(|(_, at)| at.trunc_subsecs(0)),
        key_id: id,
    });
    let listed: Vec<Key> = listed.collect();
    if json {
        println!("{}", serde_json::to_string_pretty(&listed)?);
    } else {
        println!("{:<16}  {:<11}  {:>10}  {:>12}  last sealed (UTC)", "key", "", "texts", "sealings");
        for key in &listed {
            let role = if key.primary {
                "seals"
            } else if key.in_ring {
                "opens"
            } else {
                "not in ring"
            };
            let at = key.last_sealed_at.map_or_else(String::new, |at| at.format("%F %T").to_string());
            let texts: u64 = key.texts.values().sum();
            println!("{:<16}  {role:<11}  {texts:>10}  {:>12}  {at}", key.key_id, key.sealings);
        }
    }
    for key in &listed {
        if !key.in_ring && !key.texts.is_empty() {
            eprintln!("warning: {} need the key {}, which is not in the ring", in_words(&key.texts), key.key_id);
        }
        if key.in_ring && key.sealings >= SEALINGS_WARNING {
            let (id, sealings) = (&key.key_id, key.sealings);
            eprintln!("warning: {id} has sealed {sealings} times and stops at {SEALINGS_LIMIT}; replace it");
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn reseal_all(pool: &MySqlPool, keys: &KeyRing, limit: u64) -> anyhow::Result<ExitCode> {
    keys.report_count(pool).await?;
    let ended = reseal(pool, keys, limit).await;
    // Also after a failure: what was sealed was sealed.
    keys.report_count(pool).await?;
    let ended = ended?;
    let left: u64 = key_uses(pool)
        .await?
        .iter()
        .filter(|(id, _)| *id != keys.primary_id())
        .flat_map(|(_, uses)| uses.values())
        .sum();
    eprintln!("sealed {} texts with {}; {left} are sealed with other keys", ended.done, keys.primary_id());
    if ended.overtaken > 0 {
        eprintln!("{} were replaced by a service meanwhile", ended.overtaken);
    }
    for (row, why) in &ended.closed {
        eprintln!("does not open: {row}: {why}");
    }
    Ok(if ended.closed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

/// A process that still has the old key first seals with it, and without that key nothing could open those texts.
async fn warn_of_stragglers(pool: &MySqlPool, id: &str) -> anyhow::Result<()> {
    let lately: Option<(i64,)> = sqlx::query_as(
        "SELECT TIMESTAMPDIFF(SECOND, last_sealed_at, UTC_TIMESTAMP(6)) FROM saas_encryption_counts
         WHERE key_id = ? AND last_sealed_at > UTC_TIMESTAMP(6) - INTERVAL 1 HOUR",
    )
    .bind(id)
    .fetch_optional(pool)
    .await?;
    if let Some((seconds,)) = lately {
        eprintln!(
            "warning: something was sealed with {id} {seconds} s ago; \
             make sure that no process has it first in its ring"
        );
    }
    Ok(())
}

fn in_words(uses: &Uses) -> String {
    uses.iter().map(|(table, texts)| format!("{texts} in {table}")).collect::<Vec<_>>().join(", ")
}
