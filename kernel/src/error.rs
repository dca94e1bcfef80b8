//! How an error is printed.
//!
//! An error's own text says only what went wrong at its level, and names its cause as its source. The place that handles an
//! error prints the chain once: in a log field, on standard error, or in the reason of a failed job.

use std::error::Error;

/// An error and its causes, in one line.
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
