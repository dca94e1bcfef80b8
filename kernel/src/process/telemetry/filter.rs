//! The filter of log entries: what the operator requests, but less of some libraries.
//!
//! **Guarantee.** Whatever filter an operator sets, libraries that would log secrets are capped: `lapin` logs AMQP
//! frames (one contains the password), `h2` and `hyper` log headers (which contain bearer tokens), and `sqlx` logs
//! statement texts. A test plants secrets and searches the logs of a run at `LOG=trace`.

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};

/// The most verbose level of each library.
const CAPS: [(&str, LevelFilter); 14] = [
    ("lapin", LevelFilter::WARN),
    ("amq_protocol", LevelFilter::WARN),
    ("amq_protocol_tcp", LevelFilter::WARN),
    ("amq_protocol_uri", LevelFilter::WARN),
    ("async_rs", LevelFilter::WARN),
    ("h2", LevelFilter::INFO),
    ("hyper", LevelFilter::INFO),
    ("hyper_util", LevelFilter::INFO),
    ("tower", LevelFilter::INFO),
    ("rustls", LevelFilter::INFO),
    ("sqlx", LevelFilter::WARN),
    ("redis", LevelFilter::INFO),
    ("mio", LevelFilter::INFO),
    ("reqwest", LevelFilter::INFO),
];

/// The filter of an operator (`info,data_plane=debug`), with the caps applied.
///
/// # Errors
/// If the text is not a filter.
pub(super) fn capped(asked: &str) -> Result<Targets, ParseError> {
    let asked: Targets = asked.parse()?;
    // A directive for a module of a library would override the cap on the whole library.
    let of_others = asked.iter().filter(|(target, _)| !CAPS.iter().any(|(library, _)| target.starts_with(library)));
    let filter = of_others.collect::<Targets>().with_default(asked.default_level().unwrap_or(LevelFilter::OFF));
    Ok(filter.with_targets(CAPS.map(|(library, most)| (library, most.min(level_of(&asked, library))))))
}

fn level_of(filter: &Targets, target: &str) -> LevelFilter {
    let levels = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];
    levels
        .into_iter()
        .find(|level| filter.would_enable(target, level))
        .map_or(LevelFilter::OFF, LevelFilter::from_level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_filter_lifts_the_cap_of_a_library() {
        for asked in ["trace", "info,lapin=trace", "warn,lapin::io=trace,sqlx::query=debug", "lapin=trace"] {
            let filter = capped(asked).unwrap();
            for (target, level) in
                [("lapin::io", Level::INFO), ("sqlx::query", Level::INFO), ("hyper::proto", Level::DEBUG)]
            {
                assert!(!filter.would_enable(target, &level), "{asked}: {target}");
            }
        }
    }

    #[test]
    fn everything_else_follows_the_filter() {
        let filter = capped("error,data_plane=debug").unwrap();
        assert!(filter.would_enable("data_plane::routing", &Level::DEBUG));
        assert!(!filter.would_enable("data_plane::routing", &Level::TRACE));
        assert!(filter.would_enable("kernel", &Level::ERROR) && !filter.would_enable("kernel", &Level::WARN));
        assert!(filter.would_enable("sqlx", &Level::ERROR) && !filter.would_enable("sqlx", &Level::WARN));
        assert!(capped("off").unwrap().iter().all(|(_, level)| level == LevelFilter::OFF));
        assert!(capped("data_plane=loud").is_err());
    }
}
