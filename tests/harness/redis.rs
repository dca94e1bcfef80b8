//! A private Redis: a cache, so nothing is kept on disk; losing all of it must change no answer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::certificates::Certificate;
use crate::files::{private_dir, random_secret, read_json, remembered, write_private};
use crate::mariadb::wait_for;
use crate::process::{Launch, Process};
use crate::{install, ports, probe};

/// A start takes 40 ms on a quiet machine.
const READY: Duration = Duration::from_secs(10);
const STOP: Duration = Duration::from_secs(5);

/// What must be the same after a restart.
#[derive(Serialize, Deserialize)]
struct Identity {
    port: u16,
    password: String,
}

pub struct Redis {
    identity: Identity,
    authority: Option<PathBuf>,
    process: Process,
}

impl Redis {
    /// Starts the server in this folder and waits until it answers.
    pub async fn start(dir: &Path) -> Result<Self> {
        Self::start_with(dir, None).await
    }

    /// The same, by TLS only if it has a certificate.
    pub async fn start_with(dir: &Path, certificate: Option<&Certificate>) -> Result<Self> {
        private_dir(dir)?;
        let identity: Identity = remembered(&dir.join("identity.json"), || {
            Ok(Identity { port: ports::free()?, password: random_secret() })
        })?;
        let program = install::program("redis-server").context("redis-server is not installed")?;
        let file = dir.join("redis.conf");
        // By a file, because arguments can be read by everybody on the machine. The title stays the command line,
        // by which the process is recognised.
        let listen = match certificate {
            None => format!("port {}", identity.port),
            Some(files) => format!(
                "port 0\ntls-port {}\ntls-auth-clients no\ntls-cert-file \"{}\"\ntls-key-file \"{}\"\ntls-ca-cert-file \"{}\"",
                identity.port,
                files.certificate.display(),
                files.key.display(),
                files.authority.display()
            ),
        };
        let configuration = format!(
            "bind 127.0.0.1\n{listen}\nrequirepass {}\nsave \"\"\nappendonly no\ndir \"{}\"\nset-proc-title no\n\
             daemonize no\nlogfile \"\"\n",
            identity.password,
            dir.display()
        );
        write_private(&file, configuration)?;
        let launch = Launch::new("redis", program, dir).args([&file]);
        if let Some(mut left) = Process::attach(launch.clone())? {
            left.stop(STOP).await?;
        }
        let authority = certificate.map(|certificate| certificate.authority.clone());
        let mut server = Self { identity, authority, process: Process::start(launch)? };
        server.wait_ready().await?;
        Ok(server)
    }

    /// The server that an earlier run left running in this folder.
    pub fn attach(dir: &Path) -> Result<Option<Self>> {
        let Some(identity) = read_json(&dir.join("identity.json"))? else { return Ok(None) };
        let process = Process::attach(Launch::new("redis", "redis-server", dir))?;
        Ok(process.map(|process| Self { identity, authority: None, process }))
    }

    pub async fn wait_ready(&mut self) -> Result<()> {
        let url = self.url();
        wait_for("Redis", READY, &mut self.process, async || probe::redis(&url, self.authority.as_deref()).await).await
    }

    pub fn url(&self) -> String {
        let scheme = if self.authority.is_some() { "rediss" } else { "redis" };
        format!("{scheme}://:{}@127.0.0.1:{}/0", self.identity.password, self.identity.port)
    }

    pub fn port(&self) -> u16 {
        self.identity.port
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    pub async fn stop(&mut self) -> Result<()> {
        self.process.stop(STOP).await.map(drop)
    }

    pub fn kill9(&mut self) -> Result<()> {
        self.process.kill9()
    }

    pub fn pause(&mut self) -> Result<()> {
        self.process.pause()
    }

    pub fn resume(&mut self) -> Result<()> {
        self.process.resume()
    }

    /// Starts the server again, empty, on the same port.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.process.start_again(&[])?;
        self.wait_ready().await
    }
}
