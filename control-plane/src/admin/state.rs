//! What the handlers of the admin API use beside the [`App`].

use super::admission::Admission;
use crate::app::App;
use crate::commands::SignUpAllowance;
use crate::health::SystemHealth;
use crate::schedule::ScheduleSettings;
use axum::extract::FromRef;
use kernel::http::TrustedProxies;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The state of the router.
#[derive(Clone)]
pub struct AdminState {
    pub app: App,
    pub schedules: Arc<ScheduleSettings>,
    pub health: SystemHealth,
    /// How many strangers may sign up.
    pub sign_ups: SignUpAllowance,
    /// The proxies whose headers name a client's address.
    pub trusted: Arc<TrustedProxies>,
    /// Bounds the requests in work.
    pub admission: Admission,
    /// Bounds the live streams: each asks the system database once a second.
    pub streams: Arc<Semaphore>,
}

impl FromRef<AdminState> for App {
    fn from_ref(state: &AdminState) -> Self {
        state.app.clone()
    }
}
