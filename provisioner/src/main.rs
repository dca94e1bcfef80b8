#![doc = include_str!("../README.md")]

mod backup;
mod commands;
mod dispatch;
mod exit;
mod health;
mod legacy;
mod sagas;
mod serve;
mod server;
mod statistics;
mod tables;
mod worker;

use clap::{Parser, Subcommand};
use kernel::error::chain;
use kernel::process::config::Settings;
use std::process::ExitCode;

/// Provisioning workers of the SaaS: create tenants' databases, users and schemas.
///
/// Any number of processes share the work. Settings come from the environment; deploy/defaults.env documents each.
/// Exit codes: 0 done, 1 failed (the reason is on standard error), 2 wrong usage; `legacy` has more.
#[derive(Parser)]
#[command(
    name = "provisioner",
    version,
    after_help = "Example:
  SYSTEM_DB_URL=... TENANT_DB_ADMIN_URL=... AMQP_URL=... ENCRYPTION_KEYS=... provisioner serve"
)]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Work on jobs, until SIGTERM.
    Serve,
    /// Ask the process that serves on this machine whether it is ready: exit code 0 or 1. Health checks of containers
    /// call it.
    Ready,
    Legacy(legacy::Options),
    Backup(commands::BackupOptions),
    Restore(commands::RestoreOptions),
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let settings = Settings::from_environment();
    if let Err(error) = kernel::database::tls::begin(&settings) {
        eprintln!("provisioner: {}", chain(&error));
        return ExitCode::FAILURE;
    }
    let ended = match cli.role {
        Role::Serve => serve::serve(&settings).await,
        Role::Ready => match settings.get("PROVISIONER_LISTEN") {
            Ok(address) => kernel::process::health::ask(address).await,
            Err(error) => Err(error.into()),
        },
        Role::Backup(options) => return commands::run_backup(&settings, options).await,
        Role::Restore(options) => return commands::run_restore(&settings, options).await,
        Role::Legacy(options) => return legacy::run(&settings, options).await,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("provisioner: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn clap_accepts_the_command_line() {
        <super::Cli as clap::CommandFactory>::command().debug_assert();
    }
}
