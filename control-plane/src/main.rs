#![doc = include_str!("../README.md")]

mod admin;
mod app;
mod audit;
mod cli;
mod commands;
mod cursor;
mod gauges;
mod health;
mod ownership;
mod relay;
mod schedule;
mod schema;
mod serve;
mod statistics;

use clap::{Parser, Subcommand};
use cli::{keys, rebuild, stats, token, verify_log};
use kernel::error::chain;
use kernel::process::config::Settings;
use std::process::ExitCode;

/// Control plane of the SaaS: creates and governs tenants, records every change as an event, publishes the events.
///
/// Settings come from the environment; deploy/defaults.env documents each of them. Exit codes: 0 done, 1 failed (the
/// reason is on standard error), 2 wrong usage, 4 something wrong was found.
#[derive(Parser)]
#[command(
    name = "control-plane",
    version,
    after_help = "Examples:
  control-plane migrate
  control-plane token create --name ops --scopes admin
  control-plane serve
  control-plane verify-log
  control-plane rebuild --check
  control-plane audit --repair
  control-plane keys list
  control-plane schedule list
  control-plane stats backfill --from 2026-01-01 --to 2026-01-31
  control-plane openapi > admin-api.json"
)]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Serve the admin API and relay events, until SIGTERM.
    Serve,
    /// Ask the process that serves on this machine whether it is ready: exit code 0 or 1. For health checks of
    /// containers.
    Ready,
    /// Bring the system database up to date. Safe to run twice, also at the same time.
    Migrate,
    /// Manage the tokens of the admin API.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Replace the keys that seal secrets.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Show schedules, and start a run of one.
    #[command(subcommand)]
    Schedule(cli::schedule::ScheduleCommand),
    /// Print the OpenAPI document of the admin API.
    Openapi,
    /// Have statistics of tenants counted for past days.
    #[command(subcommand)]
    Stats(stats::StatsCommand),
    Rebuild(rebuild::Options),
    VerifyLog(verify_log::Options),
    Audit(cli::audit::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let settings = Settings::from_environment();
    if let Err(error) = kernel::database::tls::begin(&settings) {
        eprintln!("control-plane: {}", chain(&error));
        return ExitCode::FAILURE;
    }
    let ended = match cli.role {
        Role::Serve => serve::serve(&settings).await.map(|()| ExitCode::SUCCESS),
        Role::Ready => match settings.get("CONTROL_PLANE_INTERNAL_LISTEN") {
            Ok(address) => kernel::process::health::ask(address).await.map(|()| ExitCode::SUCCESS),
            Err(error) => Err(error.into()),
        },
        Role::Migrate => serve::migrate(&settings).await.map(|()| ExitCode::SUCCESS),
        Role::Token(command) => token::run(&settings, command).await.map(|()| ExitCode::SUCCESS),
        Role::Keys(command) => keys::run(&settings, command).await,
        Role::Schedule(command) => cli::schedule::run(&settings, command).await,
        Role::Openapi => {
            print!("{}", kernel::http::openapi::text(&admin::document()));
            Ok(ExitCode::SUCCESS)
        }
        Role::Stats(command) => stats::run(&settings, command).await,
        Role::Rebuild(options) => rebuild::run(&settings, &options).await,
        Role::VerifyLog(options) => verify_log::run(&settings, &options).await,
        Role::Audit(options) => cli::audit::run(&settings, &options).await,
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("control-plane: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_well_formed() {
        <super::Cli as clap::CommandFactory>::command().debug_assert();
    }
}
