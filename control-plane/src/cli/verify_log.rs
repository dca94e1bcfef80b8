//! `control-plane verify-log`: shows that the history was not changed.

use super::{FOUND, connect};
use clap::Args;
use kernel::domain::Position;
use kernel::process::config::Settings;
use kernel::store::{Wrong, verify_log};
use serde_json::json;
use std::process::ExitCode;

/// Check that the event log was not changed.
///
/// Reads every event once: positions have no hole, versions follow, each event's hash is that of its columns and of the
/// event before, and the head is that of the last one. Stops at the first event that is wrong, and names it.
///
/// A person who can write to the database can also compute the whole chain again. If that matters, note the head's hash
/// in another place from time to time.
///
/// Exit codes: 0 the log is right, 4 something is wrong.
#[derive(Args)]
pub struct Options {
    /// Begin at this position and believe what is before it.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    from: u64,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub async fn run(settings: &Settings, options: &Options) -> anyhow::Result<ExitCode> {
    let mut connection = connect(settings).await?;
    let found = verify_log(&mut connection, Position(options.from)).await?;
    if options.json {
        let wrong = found.wrong.map(|(position, what)| json!({"position": position, "what": what}));
        println!("{}", json!({"head": found.head, "checked": found.checked, "wrong": wrong}));
    } else if let Some((position, what)) = found.wrong {
        println!("position {position}: {}", sentence(what));
    } else {
        println!("{} events up to position {} are as they were written", found.checked, found.head);
    }
    Ok(if found.wrong.is_some() { ExitCode::from(FOUND) } else { ExitCode::SUCCESS })
}

fn sentence(what: Wrong) -> &'static str {
    match what {
        Wrong::Missing => "there is no such event",
        Wrong::Unreadable => "a column of the event does not have its form",
        Wrong::Hash => "the event, or the one before it, is not as it was written",
        Wrong::Version => "the event's version does not follow in its tenant's stream",
        Wrong::Beyond => "the event is newer than the head",
        Wrong::Head => "the head does not have the hash of the last event",
    }
}
