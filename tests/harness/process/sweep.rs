//! Ends the processes that an earlier run has left behind.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::record::Record;
use super::{Launch, Process};
use crate::files::read_json;

/// Kills every process that is recorded in a folder or below it, and returns their names.
pub fn kill_recorded(dir: &Path) -> Vec<String> {
    let mut killed = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        // Links are not followed, and a server's data folder, which can hold thousands of files, is skipped.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && entry.file_name() != "data" {
            killed.extend(kill_recorded(&path));
        } else if path.extension().is_some_and(|extension| extension == "pid")
            && let (Some(name), Ok(Some(record))) = (path.file_stem(), read_json::<Record>(&path))
            && record.is_alive()
        {
            let name = name.to_string_lossy().into_owned();
            let launch = Launch::new(&name, &record.program, dir);
            match Process::of(launch, record).kill9() {
                Ok(()) => killed.push(name),
                Err(error) => eprintln!("{error:#}"),
            }
        }
    }
    killed
}

/// Kills every process whose environment has this entry. It finds the children that a server has put into sessions of
/// their own. The entry names one of our private folders, so no other process can carry it.
pub fn kill_with_environment(entry: &str) {
    let own = std::process::id();
    let carries = |pid: i32| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|variable| variable == entry.as_bytes()))
    };
    // A process can start another one just before it is killed, so the search is repeated until it finds none.
    loop {
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.filter_map(|process| process.file_name().to_str()?.parse().ok());
        let found: Vec<i32> = pids.filter(|pid| *pid != own as i32 && carries(*pid)).collect();
        if found.is_empty() {
            return;
        }
        for pid in found {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
