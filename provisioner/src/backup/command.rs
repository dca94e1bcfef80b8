//! `provisioner backup`.

use super::catalogue;
use super::choice::choose;
use super::dump;
use super::error::BackupError;
use super::list;
use super::load::verify;
use super::manifest::{Kept, Manifest};
use super::prune::{Retention, UNFINISHED_HOURS, prune};
use super::reader::Reader;
use super::store::{BackupStore, Subject};
use super::take::Taker;
use crate::server::Server;
use crate::tables::Doing;
use clap::{Args, Subcommand};
use kernel::crypto::KeyRing;
use kernel::database;
use kernel::domain::TenantId;
use kernel::error::chain;
use kernel::process::config::{Settings, wrong};
use kernel::store::Store;
use secrecy::SecretString;
use serde::Serialize;
use std::io::Write;
use std::process::ExitCode;

/// Take, list, check and remove backups.
///
/// A backup is one moment of a database in service: compressed, sealed under the key ring, in the store that BACKUP_STORE names
/// (file:///directory or s3://bucket/prefix). It can only be read with the ring that sealed it: keep ENCRYPTION_KEYS somewhere else too.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  provisioner backup acme                 # of one tenant
  provisioner backup --system             # of the system database
  provisioner backup list --json
  provisioner backup verify               # reads all of them and opens every chunk
  provisioner backup export acme > acme.sql
  provisioner backup prune --dry-run      # what retention would remove
  provisioner backup reseal               # under the primary key, before an old key retires

Exit codes:
  0  done
  1  failed on the way (the reason is on standard error); run it again
  2  wrong usage
  3  refused: a setting, the tenant or the backup is not what is needed; nothing was touched
  4  looked and found something wrong: a backup that is damaged or does not open"
)]
pub struct BackupOptions {
    /// Of which tenant.
    #[arg(required_unless_present = "system", conflicts_with = "system")]
    tenant_id: Option<TenantId>,
    /// Of the system database.
    #[arg(long)]
    system: bool,
    /// Print the result as JSON, on standard output.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Show what is in the store. A file without a manifest is an unfinished backup, and none.
    List {
        /// Of one tenant only.
        tenant_id: Option<TenantId>,
    },
    /// Read whole backups and open every chunk: all, a tenant's, or the system database's.
    Verify {
        /// Of one tenant only.
        tenant_id: Option<TenantId>,
        /// Of the system database only.
        #[arg(long, conflicts_with = "tenant_id")]
        system: bool,
    },
    /// Print the newest backup as SQL, for any client of the server. It holds the tenant's data in the clear.
    Export {
        /// Of which tenant.
        #[arg(required_unless_present = "system", conflicts_with = "system")]
        tenant_id: Option<TenantId>,
        /// Of the system database.
        #[arg(long)]
        system: bool,
    },
    /// Seal the keys of all backups with the primary key of the ring.
    Reseal,
    /// Remove backups that are older than BACKUP_KEEP_DAYS, but for the newest BACKUP_KEEP_LAST of each tenant, and unfinished files.
    Prune {
        /// Show what would go, and remove nothing.
        #[arg(long)]
        dry_run: bool,
        /// Unfinished files go after so many hours: nobody may be writing them any more.
        #[arg(long, default_value_t = UNFINISHED_HOURS)]
        unfinished_hours: u32,
    },
}

/// Runs the command and says how it ended.
pub async fn run(settings: &Settings, options: BackupOptions) -> ExitCode {
    match command(settings, options).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("provisioner: {}", chain(&error));
            error.exit_code()
        }
    }
}

/// What the commands stand on.
pub struct Setting {
    /// Where backups are.
    pub backups: BackupStore,
    /// The key ring.
    pub keys: KeyRing,
    /// The system database.
    pub store: Store,
    /// Its URL.
    pub system_url: SecretString,
}

impl Setting {
    /// Reads it; nothing is connected yet.
    pub fn read(settings: &Settings) -> Result<Self, BackupError> {
        let backups = BackupStore::needed(settings)?;
        let keys =
            KeyRing::parse(&settings.secret("ENCRYPTION_KEYS")?).map_err(|error| wrong("ENCRYPTION_KEYS", error))?;
        let system_url = settings.secret("SYSTEM_DB_URL")?;
        let pool = database::pool(&system_url, 4).map_err(|error| wrong("SYSTEM_DB_URL", error))?;
        Ok(Self { backups, keys, store: Store::new(pool), system_url })
    }

    /// This installation's id.
    pub async fn installation(&self) -> Result<String, BackupError> {
        let found = kernel::store::installation::installation_id(self.store.pool()).await;
        Ok(found.doing(|| "reading the system database".into())?)
    }
}

/// All servers that the settings name.
pub fn servers(settings: &Settings) -> Result<Vec<Server>, BackupError> {
    Server::from_settings(settings).map_err(|error| BackupError::Refused(format!("{error:#}")))
}

/// The server of this name.
pub fn server(settings: &Settings, id: &str) -> Result<Server, BackupError> {
    servers(settings)?.into_iter().find(|server| server.id == id).ok_or_else(|| unknown_server(id))
}

/// No setting names it.
pub fn unknown_server(id: &str) -> BackupError {
    let suffix = id.to_uppercase();
    BackupError::Refused(format!("the setting TENANT_DB_ADMIN_URL_{suffix}, of the database server {id}, is missing"))
}

async fn command(settings: &Settings, options: BackupOptions) -> Result<ExitCode, BackupError> {
    let json = options.json;
    let setting = Setting::read(settings)?;
    match options.command {
        None => {
            let manifest = take(settings, &setting, options.tenant_id).await?;
            setting.keys.tell_count(setting.store.pool()).await?;
            tell(&manifest, json, || list::line(&manifest));
            for what in &manifest.left_out {
                eprintln!("warning: not in the backup: {what}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::List { tenant_id }) => list::run(&setting, tenant_id.map(Subject::Tenant).as_ref(), json).await,
        Some(Command::Verify { tenant_id, system }) => {
            let of = tenant_id.map(Subject::Tenant).or(system.then_some(Subject::System));
            verify_all(&setting, of.as_ref(), json).await
        }
        Some(Command::Export { tenant_id, .. }) => {
            let subject = tenant_id.map_or(Subject::System, Subject::Tenant);
            let kept = choose(&setting.backups, &subject, None).await?;
            let mut reader = Reader::open(&setting.backups, &setting.keys, &subject, &kept).await?;
            let mut out = std::io::BufWriter::new(std::io::stdout().lock());
            writeln!(
                out,
                "{}; SET NAMES utf8mb4; SET SESSION foreign_key_checks = 0;",
                kernel::database::sql::COPY_SESSION
            )?;
            let mut objects = Vec::new();
            while let Some(statement) = reader.statement().await? {
                match dump::object(&statement)? {
                    Some(object) => objects.push(object),
                    None => writeln!(out, "{statement};")?,
                }
            }
            for object in objects {
                writeln!(out, "{}", object.for_a_client()?)?;
            }
            out.flush()?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Reseal) => reseal(&setting).await,
        Some(Command::Prune { dry_run, unfinished_hours }) => {
            let retention = Retention::from_settings(settings)?;
            let pruned = prune(&setting.backups, &setting.store, retention, unfinished_hours, dry_run).await?;
            tell(&pruned, json, || {
                let all = pruned.backups.iter().chain(&pruned.unfinished);
                let done = if dry_run { "would be removed" } else { "removed" };
                let mut lines: Vec<String> = all.map(|what| format!("{what} {done}")).collect();
                lines.push(format!("{} backups, {} unfinished files", pruned.backups.len(), pruned.unfinished.len()));
                lines.join("\n")
            });
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn take(settings: &Settings, setting: &Setting, of: Option<TenantId>) -> Result<Manifest, BackupError> {
    let installation = setting.installation().await?;
    let taker =
        Taker { backups: &setting.backups, keys: &setting.keys, store: &setting.store, installation: &installation };
    let Some(tenant_id) = of else {
        let options = database::options(&setting.system_url).map_err(|error| wrong("SYSTEM_DB_URL", error))?;
        return taker.system(&options).await;
    };
    let tenant = setting.store.tenant(&tenant_id).await?;
    let tenant = tenant.ok_or_else(|| BackupError::Refused(format!("there is no tenant {tenant_id}")))?;
    taker.tenant(&server(settings, &tenant.database.server)?, &tenant).await
}

#[derive(Serialize)]
struct Verified {
    backup_id: String,
    tenant_id: Option<String>,
    /// What is wrong; null: nothing.
    error: Option<String>,
}

async fn verify_all(setting: &Setting, of: Option<&Subject>, json: bool) -> Result<ExitCode, BackupError> {
    let mut results = Vec::new();
    for ((subject, backup_id), files) in setting.backups.list(of).await? {
        if !files.manifest {
            continue;
        }
        let checked = async {
            let kept = Kept::read(&setting.backups, &subject, &backup_id).await?;
            verify(&setting.backups, &setting.keys, &subject, &kept).await
        };
        let error = match checked.await {
            Ok(_) => None,
            Err(error @ (BackupError::Damaged(_) | BackupError::Stream(_))) => Some(chain(&error)),
            Err(error) => return Err(error),
        };
        if !json {
            println!("{backup_id}  {subject}: {}", error.as_deref().unwrap_or("whole"));
        }
        let tenant_id = Some(subject.column().to_owned()).filter(|id| !id.is_empty());
        results.push(Verified { backup_id, tenant_id, error });
    }
    if json {
        println!("{}", serde_json::to_string(&results).unwrap_or_default());
    }
    let well = results.iter().all(|result| result.error.is_none());
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(super::error::FOUND) })
}

async fn reseal(setting: &Setting) -> Result<ExitCode, BackupError> {
    let (mut done, mut closed) = (0, 0);
    for ((subject, backup_id), files) in setting.backups.list(None).await? {
        if !files.manifest {
            continue;
        }
        let mut kept = Kept::read(&setting.backups, &subject, &backup_id).await?;
        match kept.reseal(&setting.backups, &setting.keys).await {
            Ok(anew) => done += u32::from(anew),
            Err(error @ BackupError::Damaged(_)) => {
                eprintln!("does not open: {}", chain(&error));
                closed += 1;
                continue;
            }
            Err(error) => return Err(error),
        }
        catalogue::add(setting.store.pool(), &kept.manifest, kept.key_id()).await?;
    }
    setting.keys.tell_count(setting.store.pool()).await?;
    eprintln!("sealed the keys of {done} backups with {}", setting.keys.primary_id());
    Ok(if closed == 0 { ExitCode::SUCCESS } else { ExitCode::from(super::error::FOUND) })
}

/// The result, for a program or for people.
pub fn tell(result: &impl Serialize, json: bool, line: impl FnOnce() -> String) {
    if json {
        println!("{}", serde_json::to_string(result).unwrap_or_default());
    } else {
        println!("{}", line());
    }
}
