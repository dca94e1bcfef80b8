//! `cargo dev` runs the whole system on this machine, for a developer and for the tests.
//!
//! Each command has a file of its own that reads from top to bottom. The commands share `stack_up`, `state` and
//! `interrupt`.

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

/// Runs the whole system on this machine: private MariaDB, RabbitMQ and Redis servers, the control plane, the
/// provisioner and the data plane, with a demo tenant to try.
///
/// `cargo dev` installs the programs that are missing on Debian and Ubuntu; on other systems it names them. It never
/// touches servers that already run: its own listen on free loopback ports and store their data under target/dev/.
#[derive(Parser)]
#[command(name = "cargo dev", bin_name = "cargo dev", after_long_help = EXAMPLES, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  cargo dev run                       start everything, print commands to try, and stop everything at Ctrl-C
  cargo dev run --fresh               do the same with new databases
  cargo dev run --data-planes 2       do the same with a second data node
  cargo dev up                        start the same stack in the background
  eval \"$(cargo dev env)\"             set its addresses and tokens in this shell
  curl -H \"X-Admin-Token: $ADMIN_TOKEN\" $CONTROL_PLANE_URL/admin/tenants
  cargo dev status                    show what runs and whether it is healthy
  cargo dev down                      stop the stack; the next start finds its data
  cargo dev test                      run the default test suite, on servers of its own
  cargo dev test rotation             run only the tests with `rotation` in their name
  cargo dev test --long               run the long tests, which the default suite leaves out
  cargo dev bench                     measure speed, as ratios to a minimal form of the same work

To use servers that already run in place of private ones:
  SYSTEM_DB_URL=mysql://user:password@host/ai_shifu_system \\
  TENANT_DB_ADMIN_URL=mysql://admin:password@host/ \\
  AMQP_URL=amqp://... REDIS_URL=redis://... cargo dev run

Exit codes:
  0    the command succeeded
  1    the command failed
  2    the command line is wrong
  3    `cargo dev status` found a part that is down
  130  Ctrl-C or SIGTERM interrupted the command before the stack was ready or the work was done";

#[derive(Subcommand)]
enum Command {
    /// Start everything in the foreground and print commands to try; Ctrl-C stops everything
    Run(StackArgs),
    /// Run the default test suite, or only the tests whose name contains FILTER
    Test(suite::TestArgs),
    /// Run the benchmarks, on servers of their own, and print ratios with their goals
    ///
    /// Each ratio compares the system with a minimal form of the same work. Both sides take turns in the same run. The
    /// exit code says whether the benchmarks ran, not whether the goals were met, because a busy machine must not fail
    /// a build. The table and the field `met` of the JSON say whether a goal was met. A round in which other programs
    /// use more than a fifth of the processors is shown but does not count for the verdict.
    Bench(bench::BenchArgs),
    /// Start the same stack in the background, and return when every part is ready
    Up(StackArgs),
    /// Stop the stack, in the background or in another terminal, and leave its data for the next start
    Down,
    /// Show what runs and whether it is healthy; the exit code is 3 when a part is down
    Status {
        /// Print JSON: [{"name","pid","url","healthy"}]
        #[arg(long)]
        json: bool,
    },
    /// Print `export` lines with the addresses and tokens of the running stack, for `eval "$(cargo dev env)"`
    Env,
}

#[derive(Args, Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StackArgs {
    /// Delete the data of earlier starts first
    #[arg(long)]
    #[serde(skip)]
    fresh: bool,
    /// Compile the services with optimisations
    #[arg(long)]
    release: bool,
    /// Start this many data nodes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    data_planes: u8,
    /// Start this many provisioners
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

/// Prints a line. Unlike `println!`, it does not panic when the reader has gone (`cargo dev up | head`).
fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}
