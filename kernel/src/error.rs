//! The one function that prints an error with its causes.
//!
//! An error's own text says only what went wrong at its level, and its source is the cause. The code that handles an
//! error prints the whole chain once: in a log field, on standard error, or in the reason of a failed job.

use std::error::Error;

/// The error and its causes, in one line, separated by colons.
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}
