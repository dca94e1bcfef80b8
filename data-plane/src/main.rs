#![doc = include_str!("../README.md")]

mod access_log;
mod admission;
mod api;
mod app;
mod cache;
mod connections;
mod follower;
mod gate;
mod gauges;
mod legacy_api;
mod lookups;
mod members;
mod noticeboard;
mod profiles;
mod report;
mod router;
mod routing;
mod serve;
mod served;
mod sessions;
mod values;

use clap::{Parser, Subcommand};
use kernel::error::chain;
use kernel::process::config::Settings;
use std::process::ExitCode;

/// A request makes about a hundred small allocations on one thread and frees them on another, which mimalloc does
/// faster.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Data node of the SaaS: finds the tenant of a request, checks the user, and answers from the tenant's own database.
///
/// A node has the whole routing table in memory and follows the event log, so nodes can be started and stopped at any
/// time and in any number. A node's account on the system database reads the tables that it routes and admits by, and
/// writes to saas_nodes (the node reports its position there), saas_served_tenants (whose databases answered it),
/// user_token (each use extends a session) and saas_access_logs; deploy/sql/tables.sql grants these rights. A node logs
/// in to each tenant's database as that tenant's own user.
///
/// Settings come from the environment; deploy/defaults.env documents each of them.
/// Exit codes: 0 stopped by SIGTERM, 1 failed (the reason is on standard error), 2 wrong usage.
#[derive(Parser)]
#[command(
    name = "data-plane",
    version,
    after_help = "Needed: SYSTEM_DB_URL, AMQP_URL, ENCRYPTION_KEYS (each also as NAME_FILE=/path).
Optional: REDIS_URL, LEGACY_SECRET_KEY.

Examples:
  data-plane serve
  DATA_PLANE_LISTEN=0.0.0.0:8082 TRUSTED_PROXIES=10.0.0.0/8 data-plane serve
  curl -H 'Host: school.example.com' -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:8082/api/orders"
)]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Serve the tenants' API, until SIGTERM. Ready (/readyz) once the routing table is loaded.
    Serve,
    /// Check whether the process on this machine is ready: exit code 0 or 1. For health checks of containers.
    Ready,
    /// Print the OpenAPI document of the tenants' API.
    Openapi,
}

#[tokio::main]
async fn main() -> ExitCode {
    let role = Cli::parse().role;
    let settings = Settings::from_environment();
    if let Err(error) = kernel::database::tls::begin(&settings) {
        eprintln!("data-plane: {}", chain(&error));
        return ExitCode::FAILURE;
    }
    let ended = match role {
        Role::Serve => serve::serve(&settings).await,
        Role::Ready => match settings.get("DATA_PLANE_INTERNAL_LISTEN") {
            Ok(address) => kernel::process::health::ask(address).await,
            Err(error) => Err(error.into()),
        },
        Role::Openapi => {
            print!("{}", kernel::http::openapi::text(&router::document()));
            Ok(())
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("data-plane: {}", chain(error.as_ref()));
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
