//! What jobs append to the name of a tenant's database for a database of their own beside it.

/// Into which a restore loads the backup.
pub const RESTORED: &str = "__restore";
/// In which a restore puts the tables that it replaces.
pub const REPLACED: &str = "__before";
/// Into which a restore test loads the backup.
pub const TESTED: &str = "__test";
