//! How a command that an operator runs ends: its result on standard output, and its exit code.

use kernel::error::chain;
use serde::Serialize;
use std::process::ExitCode;

/// The command failed on the way.
pub const FAILED: u8 = 1;
/// A setting, an argument or the present state is not what the command needs. It changed nothing.
pub const REFUSED: u8 = 3;
/// The command ran to its end and found something wrong.
pub const FOUND: u8 = 4;

/// The exit code of a command that checks something.
pub fn checked(is_well: bool) -> ExitCode {
    if is_well { ExitCode::SUCCESS } else { ExitCode::from(FOUND) }
}

/// The exit code of a command that has ended. Reports an error, with all causes, on standard error; `code` gives its
/// exit code.
pub fn of<E: std::error::Error + 'static>(ended: Result<ExitCode, E>, code: impl FnOnce(&E) -> u8) -> ExitCode {
    ended.unwrap_or_else(|error| {
        eprintln!("provisioner: {}", chain(&error));
        ExitCode::from(code(&error))
    })
}

/// Prints the result of a command: as JSON, or as `text`.
pub fn print(result: &impl Serialize, json: bool, text: impl FnOnce() -> String) {
    if json {
        println!("{}", serde_json::to_string(result).unwrap_or_default());
    } else {
        println!("{}", text());
    }
}
