//! `cargo dev run` runs the stack in the foreground until Ctrl-C, or until one of its processes ends.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use harness::stack::Stack;
use harness::{files, process};

use crate::interrupt::Interrupt;
use crate::state::{Lock, State};
use crate::{StackArgs, advice, say, stack_up, state};

/// How often to check that all processes still run.
const CHECK_EVERY: Duration = Duration::from_millis(250);

pub async fn run(args: StackArgs, mut interrupt: Interrupt) -> Result<ExitCode> {
    let _lock = Lock::take()?;
    if State::load().ok().flatten().is_some_and(|state| state.background && state.is_alive()) {
        bail!(
            "the stack already runs in the background; `cargo dev down` stops it, `cargo dev env` prints its addresses"
        );
    }
    // An earlier run that was killed could not stop its children.
    for name in process::kill_recorded(&state::dir()) {
        eprintln!("stopped {name}, which an earlier killed run had left running");
    }
    let existing = stack_up::existing();
    stack_up::prepare(&args, &existing, &mut interrupt).await?;
    stack_up::clear_if_fresh(&args)?;
    let (mut stack, demo) = stack_up::start(&args, existing, &mut interrupt).await?;
    State::of(&mut stack, &demo, &args, false).save()?;
    say(&advice::what_to_try(&mut stack, &demo));

    let dead = loop {
        tokio::select! {
            () = interrupt.arrived() => break None,
            () = tokio::time::sleep(CHECK_EVERY) => {
                if let Some(dead) = first_dead(&mut stack) {
                    break Some(dead);
                }
            }
        }
    };
    if let Some((name, log)) = &dead {
        eprintln!("error: {name} ended unexpectedly; the end of its log:\n{}", files::tail(log, 30));
    }
    eprintln!("stopping");
    State::clear();
    stack.stop().await?;
    Ok(if dead.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The name and the log of a process that has ended.
fn first_dead(stack: &mut Stack) -> Option<(String, PathBuf)> {
    stack.processes().find_map(|process| (!process.is_alive()).then(|| (process.name().to_owned(), process.log())))
}
