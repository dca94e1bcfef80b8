//! Points at which tests interrupt the process: `FAILPOINTS=name=action,name=action`.
//!
//! The actions are `kill` (SIGKILL to this process, at exactly this point), `error` (the step reports an error, if the
//! caller checks [`fails`]), `hang` (wait for ever), `hold:PATH` (wait while the file exists) and `slow:MS` (wait that
//! many milliseconds). They exist in debug builds only. In a release build every point is an empty function, and the
//! variable is not read.
//!
//! `NEWER_TENANT_MIGRATIONS=/directory` makes a process behave like one of a newer version: the files in that directory
//! count as tenant migrations too. It also exists in debug builds only.

/// Passes the point `name`, and performs the action that `FAILPOINTS` sets for it.
#[cfg(debug_assertions)]
pub async fn hit(name: &str) {
    match configured::action(name).as_deref() {
        Some("kill") => {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
            std::future::pending().await
        }
        Some("hang") => std::future::pending().await,
        Some(action) => {
            if let Some(path) = action.strip_prefix("hold:") {
                while std::path::Path::new(path).exists() {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            }
            if let Some(millis) = action.strip_prefix("slow:").and_then(|ms| ms.parse().ok()) {
                tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
            }
        }
        None => {}
    }
}

/// Whether `FAILPOINTS` sets the point `name` to `error`.
#[cfg(debug_assertions)]
pub fn fails(name: &str) -> bool {
    configured::action(name).as_deref() == Some("error")
}

#[cfg(debug_assertions)]
mod configured {
    use std::sync::OnceLock;

    static POINTS: OnceLock<Vec<(String, String)>> = OnceLock::new();

    pub(super) fn action(name: &str) -> Option<String> {
        let points = POINTS.get_or_init(|| {
            let text = std::env::var("FAILPOINTS").unwrap_or_default();
            text.split(',').filter_map(|p| p.split_once('=')).map(|(n, a)| (n.into(), a.into())).collect()
        });
        points.iter().find(|(point, _)| point == name).map(|(_, action)| action.clone())
    }
}

/// The tenant migrations of a newer version, which tests have placed in a directory as `0002_what_it_does.sql`.
#[cfg(debug_assertions)]
pub fn tenant_migrations() -> Vec<sqlx::migrate::Migration> {
    use sqlx::migrate::{Migration, MigrationType};
    let Some(directory) = std::env::var_os("NEWER_TENANT_MIGRATIONS") else { return Vec::new() };
    let files = std::fs::read_dir(directory).expect("the directory of NEWER_TENANT_MIGRATIONS");
    let mut paths: Vec<_> = files.flatten().map(|file| file.path()).collect();
    paths.sort();
    let migration = |path: &std::path::PathBuf| {
        let (version, description) = path.file_stem()?.to_str()?.split_once('_')?;
        let (version, description) = (version.parse().ok()?, description.replace('_', " "));
        let sql = std::fs::read_to_string(path).ok()?;
        Some(Migration::new(version, description.into(), MigrationType::Simple, sql.into(), false))
    };
    paths.iter().map(|path| migration(path).expect("NUMBER_NAME.sql")).collect()
}

/// Empty in a release build.
#[cfg(not(debug_assertions))]
pub fn tenant_migrations() -> [sqlx::migrate::Migration; 0] {
    []
}

/// Does nothing in a release build.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub async fn hit(_name: &str) {}

/// Always false in a release build.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn fails(_name: &str) -> bool {
    false
}
