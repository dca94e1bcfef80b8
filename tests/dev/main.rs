//! `cargo dev`: the whole system on this machine, for a developer and for the tests.
//!
//! Each command is a straight line in a file of its own; what they share is in `stack_up`, `state` and `interrupt`.

mod advice;
mod background;
mod bench;
mod compile;
mod interrupt;
mod run;
mod stack_up;
mod state;
mod status;
mod suite;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use interrupt::{Interrupt, Interrupted};

/// Runs the whole system on this machine: private MariaDB, RabbitMQ and Redis, the control plane, the provisioner
/// and the data plane, with a demo tenant to look at.
///
/// What is missing is installed (Debian and Ubuntu; elsewhere it says what to install). Servers that run already are
/// never touched: everything listens on free loopback ports and lives under target/dev/.
#[derive(Parser)]
#[command(name = "cargo dev", bin_name = "cargo dev", after_long_help = EXAMPLES, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  cargo dev run                       start everything, print what to try, stop all of it with Ctrl-C
  cargo dev run --fresh               the same, with new databases
  cargo dev run --data-planes 2       the same, with a second API node
  cargo dev up                        the same stack in the background ...
  eval \"$(cargo dev env)\"             ... with its addresses and tokens in this shell
  curl -H \"X-Admin-Token: $ADMIN_TOKEN\" $CONTROL_PLANE_URL/admin/tenants
  cargo dev status                    what runs, and whether it is healthy
  cargo dev down                      stop it; the data stays for the next start
  cargo dev test                      the whole test suite, on servers of its own
  cargo dev test rotation             only the tests with `rotation` in their name
  cargo dev test --long               the long tests, which the default run leaves out
  cargo dev bench                     how fast it is, as ratios to the barest form of the same work

Use servers that run already, in place of private ones:
  SYSTEM_DB_URL=mysql://user:password@host/ai_shifu_system \\
  TENANT_DB_ADMIN_URL=mysql://admin:password@host/ \\
  AMQP_URL=amqp://... REDIS_URL=redis://... cargo dev run

Exit codes:
  0  done          1  failed          2  wrong usage
  3  status: something is down        130  interrupted before it was ready";

#[derive(Subcommand)]
enum Command {
    /// Start everything in the foreground and print what to try; Ctrl-C stops all of it
    Run(StackArgs),
    /// Run the whole test suite, or the tests whose name contains FILTER
    Test(suite::TestArgs),
    /// Run the benchmarks, on servers of their own, and print ratios with their goals
    ///
    /// Each ratio compares the system with the barest form of the same work, measured in turns with it in the same run.
    /// The exit code says whether the benchmarks ran, not whether the goals were met: a busy machine must not fail a
    /// build. Whether they were met is in the table, and in the field `met` of the JSON. While other programs use more
    /// than a fifth of the processors there is no verdict: such rounds are shown, and not judged.
    Bench(bench::BenchArgs),
    /// Start the same stack in the background; returns when all of it is ready
    Up(StackArgs),
    /// Stop the stack; its data stays
    Down,
    /// Say what runs and whether it is healthy; exit code 3 when something is down
    Status {
        /// As JSON: [{"name","pid","url","healthy"}]
        #[arg(long)]
        json: bool,
    },
    /// Print `export` lines with addresses and tokens, for `eval "$(cargo dev env)"`
    Env,
}

#[derive(Args, Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StackArgs {
    /// Throw the data of earlier starts away first
    #[arg(long)]
    #[serde(skip)]
    fresh: bool,
    /// Compile with optimisations
    #[arg(long)]
    release: bool,
    /// How many data nodes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    data_planes: u8,
    /// How many provisioners
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    provisioners: u8,
}

impl StackArgs {
    fn profile(&self) -> &'static str {
        if self.release { "release" } else { "debug" }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    match runtime.block_on(dispatch(cli.command)) {
        Ok(code) => code,
        Err(error) if error.is::<Interrupted>() => {
            eprintln!("interrupted; everything that was started is stopped");
            ExitCode::from(130)
        }
        Err(error) => fail(&error),
    }
}

async fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(args) => run::run(args, Interrupt::listen()?).await,
        Command::Test(args) => suite::test(args, Interrupt::listen()?).await,
        Command::Bench(args) => bench::bench(args, Interrupt::listen()?).await,
        Command::Up(args) => background::up(args, Interrupt::listen()?).await,
        Command::Down => background::down().await,
        Command::Status { json } => status::status(json).await,
        Command::Env => status::env(),
    }
}

/// Prints a line. Unlike `println!`, a reader that has gone (`cargo dev up | head`) does not end the work.
fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}
