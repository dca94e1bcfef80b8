//! Finds the processes that serve an address, and reads their processor time and memory.

use std::collections::HashSet;
use std::fs;

use anyhow::{Context, Result};
use url::Url;

/// The processes of this machine that listen on the port of `url`. Several processes of a server may share one socket.
/// The list is empty if the server is on another machine, or if this user may not see its processes.
pub fn listeners(url: &Url) -> Vec<i32> {
    /// `TCP_LISTEN`.
    const LISTENING: &str = "0A";
    let Some(port) = url.port_or_known_default() else { return Vec::new() };
    let port = format!(":{port:04X}");
    let mut sockets = HashSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            // number, own address, other address, state, ..., inode
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields.len() > 9 && fields[1].ends_with(&port) && fields[3] == LISTENING {
                sockets.insert(format!("socket:[{}]", fields[9]));
            }
        }
    }
    let holds = |pid: &i32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|target| sockets.contains(target.to_string_lossy().as_ref()))
    };
    processes().filter(holds).collect()
}

/// Seconds of processor time that all threads of these processes have used so far.
pub fn processor_seconds(pids: &[i32]) -> Result<f64> {
    /// The kernel's unit in this file (`USER_HZ`), which is independent of its internal clock.
    const TICKS_PER_SECOND: f64 = 100.0;
    let mut seconds = 0.0;
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the measured process is gone")?;
        // The second field is a name in parentheses and may contain spaces. User and system time are the fields 14 and
        // 15.
        let (_, fields) = stat.rsplit_once(") ").context("the kernel's statistics of a process")?;
        let ticks = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
        seconds += ticks.sum::<f64>() / TICKS_PER_SECOND;
    }
    Ok(seconds)
}

/// Mebibytes of memory of these processes. Memory that they share counts once.
pub fn memory_mib(pids: &[i32]) -> Result<f64> {
    let mut mib = 0.0;
    for pid in pids {
        let memory = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("the measured process is gone")?;
        let line =
            memory.lines().find_map(|line| line.strip_prefix("Pss:")).context("the kernel's memory statistics")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().context("the kernel's memory statistics")?;
        mib += kib / 1024.0;
    }
    Ok(mib)
}

fn processes() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found_by_its_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(listeners(&url), [own]);
        assert!(processor_seconds(&[own]).is_ok() && memory_mib(&[own]).unwrap() > 0.1);
        drop(listener);
        assert_eq!(listeners(&url), [0; 0]);
    }
}
