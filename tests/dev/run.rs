//! `cargo dev run`: the stack in the foreground.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use harness::stack::Stack;
use harness::{files, process};

use crate::interrupt::Interrupt;
use crate::state::{Lock, State};
use crate::{StackArgs, advice, say, stack_up, state};

/// How soon the death of a process is noticed.
const LOOK: Duration = Duration::from_millis(250);

pub async fn run(args: StackArgs, mut interrupt: Interrupt) -> Result<ExitCode> {
    let _lock = Lock::take()?;
    if State::load().ok().flatten().is_some_and(|state| state.background && state.is_alive()) {
        bail!(
            "the stack runs in the background already; `cargo dev down` stops it, `cargo dev env` tells its addresses"
        );
    }
    // A run that was killed could not stop its children.
    for name in process::kill_recorded(&state::dir()) {
        eprintln!("stopped a {name} left over from a killed run");
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
            () = tokio::time::sleep(LOOK) => {
                if let Some(dead) = first_dead(&mut stack) {
                    break Some(dead);
                }
            }
        }
    };
    if let Some((name, log)) = &dead {
        eprintln!("error: {name} has ended by itself\n{}", files::tail(log, 30));
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
