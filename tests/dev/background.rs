//! `cargo dev up` and `cargo dev down` start and stop the stack in the background. Repeating either does no harm.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use harness::process;
use harness::servers::Server;
use harness::servers::mariadb::MariaDb;
use harness::servers::rabbitmq::RabbitMq;
use harness::servers::redis::Redis;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::interrupt::Interrupt;
use crate::state::{Lock, State};
use crate::{StackArgs, advice, say, stack_up, state, status};

/// A service drains for 10 s at most, and then needs a moment to exit.
const SERVICE: Duration = Duration::from_secs(15);
const FOREGROUND: Duration = Duration::from_secs(60);

pub async fn up(args: StackArgs, mut interrupt: Interrupt) -> Result<ExitCode> {
    let _lock = Lock::take()?;
    let existing = stack_up::existing();
    stack_up::prepare(&args, &existing, &mut interrupt).await?;
    if let Some(state) = State::load().ok().flatten() {
        if !args.fresh && state.background && state.args == args && is_current(&state).await {
            say("the stack is already up; `cargo dev env` prints its addresses");
            return Ok(ExitCode::SUCCESS);
        }
        if state.is_alive() {
            eprintln!("stopping the running stack, because its options or its programs have changed");
        }
    }
    stop_all().await?;
    stack_up::clear_if_fresh(&args)?;
    let (mut stack, demo) = stack_up::start(&args, existing, &mut interrupt).await?;
    State::of(&mut stack, &demo, &args, true).save()?;
    let advice = advice::what_next(&stack);
    stack.detach();
    say(&advice);
    Ok(ExitCode::SUCCESS)
}

/// Whether every part is healthy and runs the programs that were just compiled.
async fn is_current(state: &State) -> bool {
    status::check(state).await.iter().all(|row| row.healthy)
        && !state.parts.iter().filter_map(|part| part.process()).any(|process| process.is_outdated())
}

pub async fn down() -> Result<ExitCode> {
    let mut stopped = false;
    let _lock = match Lock::try_take()? {
        Ok(lock) => lock,
        Err(pid) => {
            // The other process runs the stack in the foreground or starts it. At SIGTERM it stops what it has started.
            if pid <= 0 || !is_dev(pid) {
                bail!("another `cargo dev` of this checkout is busy");
            }
            eprintln!("stopping the `cargo dev` in the foreground (pid {pid})");
            kill(Pid::from_raw(pid), Signal::SIGTERM)?;
            stopped = true;
            Lock::wait(FOREGROUND).await?
        }
    };
    stopped |= stop_all().await?;
    State::clear();
    say(if stopped { "the stack is stopped; its data stays for the next start" } else { "nothing was running" });
    Ok(ExitCode::SUCCESS)
}

fn is_dev(pid: i32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.split(|byte| *byte == 0).next().is_some_and(|program| program.ends_with(b"dev")))
}

/// Stops everything that runs of this checkout's stack, the services first. Returns whether anything ran.
async fn stop_all() -> Result<bool> {
    let mut stopped = false;
    let state = State::load().unwrap_or_else(|error| {
        eprintln!("{error:#}");
        None
    });
    let services = state.iter().flat_map(|state| &state.parts).filter(|part| part.url.starts_with("http"));
    let mut services: Vec<_> = services.filter_map(|part| part.process()).collect();
    for service in &mut services {
        service.signal(Signal::SIGTERM)?;
    }
    for service in services.iter_mut().rev() {
        stopped = true;
        if !service.stop(SERVICE).await? {
            eprintln!("{} did not stop in time and was killed", service.name());
        }
    }
    let dir = state::dir();
    stopped |= stop_server::<Redis>(&dir.join("redis")).await?;
    stopped |= stop_server::<RabbitMq>(&dir.join("rabbitmq")).await?;
    stopped |= stop_server::<MariaDb>(&dir.join("mariadb")).await?;
    // The state does not list processes of a start that was killed before it had saved the state.
    stopped |= !process::kill_recorded(&dir).is_empty();
    Ok(stopped)
}

/// Stops the server of this folder. Says whether it was running.
async fn stop_server<S: Server>(dir: &Path) -> Result<bool> {
    let Some(mut server) = S::attach(dir)? else { return Ok(false) };
    server.stop().await?;
    Ok(true)
}
