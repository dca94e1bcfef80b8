//! A private Redis. It is a cache and stores nothing on the disk: losing all of it must change no answer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::certificates::Certificate;
use super::probe::Probe;
use super::{Server, start_process};
use crate::files::{private_dir, random_secret, read_json, remembered, write_private};
use crate::process::{Launch, Process};
use crate::{install, ports};

/// What a restart must not change.
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

impl Server for Redis {
    /// With a certificate, the server speaks TLS only.
    type Options = Option<Certificate>;

    /// A start takes 40 ms on a quiet machine.
    const READY: Duration = Duration::from_secs(10);
    const STOP: Duration = Duration::from_secs(5);

    async fn start(dir: &Path, certificate: &Option<Certificate>) -> Result<Self> {
        private_dir(dir)?;
        let identity: Identity = remembered(&dir.join("identity.json"), || {
            Ok(Identity { port: ports::free()?, password: random_secret() })
        })?;
        let program = install::program("redis-server").context("redis-server is not installed")?;
        let file = dir.join("redis.conf");
        // The settings are in a file, because every user of the machine can read arguments. The process keeps its
        // command line as its title, so that its record recognises it.
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
        let authority = certificate.as_ref().map(|certificate| certificate.authority.clone());
        let mut server = Self { identity, authority, process: start_process(launch, Self::STOP).await? };
        server.wait_ready().await?;
        Ok(server)
    }

    fn attach(dir: &Path) -> Result<Option<Self>> {
        let Some(identity) = read_json(&dir.join("identity.json"))? else { return Ok(None) };
        let process = Process::attach(Launch::new("redis", "redis-server", dir))?;
        Ok(process.map(|process| Self { identity, authority: None, process }))
    }

    fn url(&self) -> String {
        let scheme = if self.authority.is_some() { "rediss" } else { "redis" };
        format!("{scheme}://:{}@127.0.0.1:{}/0", self.identity.password, self.identity.port)
    }

    fn port(&self) -> u16 {
        self.identity.port
    }

    fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    fn probe(&self) -> Probe {
        Probe::Redis { url: self.url(), authority: self.authority.clone() }
    }
}
