//! Where tests interrupt the process: `FAILPOINTS=name=action,name=action`.
//!
//! Actions: `kill` (SIGKILL to this process, at exactly this point), `error` (the step reports an error, where the caller
//! asks for it with [`fails`]), `hang` (wait for ever), `hold:PATH` (wait while the file is there), `slow:MS`. Debug builds
//! only: in a release build every point is an empty function, and the variable is not read.

/// Passes the point named `name`; acts if the environment says so.
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

/// Whether the point named `name` is set to `error`.
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

/// Nothing, in a release build.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub async fn hit(_name: &str) {}

/// Never, in a release build.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn fails(_name: &str) -> bool {
    false
}
