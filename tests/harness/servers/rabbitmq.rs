//! A private RabbitMQ. It has its own port mapper, cookie, data and generated password, listens on loopback only, and
//! loads no plugins.
//!
//! A start costs about eight seconds of computing. So a test suite shares one broker, and each test has a prefix for
//! its names (`AMQP_PREFIX`).
//!
//! Erlang would start a port mapper (`epmd`) itself, as a daemon that outlives the broker. So the harness starts one
//! first, in the foreground, as a recorded process; the broker finds it and starts none. While it boots, the broker
//! checks the port mapper through a short-lived helper in a session of its own, which starts a new one if the first
//! has already ended. So the end of a broker kills every process whose environment has its private home folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::certificates::Certificate;
use super::probe::Probe;
use super::{Server, start_process};
use crate::files::{private_dir, random_secret, read_json, remembered, write_private};
use crate::process::{Launch, Process};
use crate::{install, ports, process};

const USER: &str = "dev";
const PLAINTEXT_LISTENER: [&str; 2] = ["RABBITMQ_NODE_IP_ADDRESS", "RABBITMQ_NODE_PORT"];

/// What a restart must not change.
#[derive(Serialize, Deserialize)]
struct Identity {
    port: u16,
    /// The port of the Erlang distribution, which the broker opens even when it is alone.
    distribution_port: u16,
    epmd_port: u16,
    password: String,
    cookie: String,
}

pub struct RabbitMq {
    identity: Identity,
    process: Process,
    epmd: Process,
    /// The environment entry that only processes of this broker have.
    home: String,
    certificate: Option<Certificate>,
    detached: bool,
}

impl RabbitMq {
    /// Deletes every exclusive queue of other connections, which only an administrator of the broker can do. Returns
    /// their number.
    pub async fn delete_exclusive_queues(&self) -> Result<usize> {
        let code = "length([rabbit_amqqueue:delete(Q, false, false, <<\"tests\">>) || Q <- rabbit_amqqueue:list(), \
                    amqqueue:get_exclusive_owner(Q) =/= none]).";
        let text = self.control(&["eval", code]).await?;
        text.parse().with_context(|| format!("rabbitmqctl said: {text}"))
    }

    /// Runs a command of `rabbitmqctl`, and returns what it printed.
    pub async fn control(&self, args: &[&str]) -> Result<String> {
        let home = install::rabbitmq_home().context("RabbitMQ is not installed")?;
        let broker = self.process.launch().command();
        let mut control = tokio::process::Command::new(home.join("sbin/rabbitmqctl"));
        control.args(args).env_clear();
        control.envs(broker.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = control.output().await.context("run rabbitmqctl")?;
        ensure!(output.status.success(), "rabbitmqctl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl Server for RabbitMq {
    /// With a certificate, the broker speaks TLS only.
    type Options = Option<Certificate>;

    /// A start takes 8 s on a quiet machine and 15 s on a busy one.
    const READY: Duration = Duration::from_secs(90);
    const STOP: Duration = Duration::from_secs(20);

    async fn start(dir: &Path, certificate: &Option<Certificate>) -> Result<Self> {
        private_dir(dir)?;
        let identity: Identity = remembered(&dir.join("identity.json"), || {
            Ok(Identity {
                port: ports::free()?,
                distribution_port: ports::free()?,
                epmd_port: ports::free()?,
                password: random_secret(),
                cookie: random_secret(),
            })
        })?;
        configure(dir, &identity, certificate.as_ref())?;
        let (broker, epmd) = (broker_launch(dir, &identity, certificate.is_some())?, epmd_launch(dir, &identity)?);
        if let Some(mut left) = Process::attach(broker.clone())? {
            left.stop(Self::STOP).await?;
        }
        // A broker that was killed during its first start leaves a database that it cannot read.
        let complete = dir.join("complete");
        if !complete.exists() {
            let _ = fs::remove_dir_all(dir.join("data"));
        }
        private_dir(&dir.join("data"))?;
        let epmd = start_process(epmd, Self::STOP).await?;
        let home = home_entry(dir);
        let (process, certificate) = (Process::start(broker)?, certificate.clone());
        let mut server = Self { identity, process, epmd, home, certificate, detached: false };
        server.wait_ready().await?;
        write_private(&complete, "")?;
        Ok(server)
    }

    fn attach(dir: &Path) -> Result<Option<Self>> {
        let Some(identity) = read_json(&dir.join("identity.json"))? else { return Ok(None) };
        let process = Process::attach(broker_launch(dir, &identity, false)?)?;
        let mut epmd = Process::attach(epmd_launch(dir, &identity)?)?;
        if process.is_none()
            && let Some(epmd) = &mut epmd
        {
            epmd.kill9()?;
        }
        let both = process.zip(epmd);
        Ok(both.map(|(process, epmd)| {
            let home = home_entry(dir);
            Self { identity, process, epmd, home, certificate: None, detached: true }
        }))
    }

    fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "amqps" } else { "amqp" };
        format!("{scheme}://{USER}:{}@127.0.0.1:{}/%2f", self.identity.password, self.identity.port)
    }

    fn port(&self) -> u16 {
        self.identity.port
    }

    fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    fn probe(&self) -> Probe {
        let authority = self.certificate.as_ref().map(|certificate| certificate.authority.clone());
        Probe::Broker { url: self.url(), authority }
    }

    async fn stop(&mut self) -> Result<()> {
        self.process.stop(Self::STOP).await?;
        self.epmd.stop(Self::STOP).await?;
        process::kill_with_environment(&self.home);
        Ok(())
    }

    /// A kill of the broker leaves the port mapper running, as on a machine of its own.
    async fn restart(&mut self) -> Result<()> {
        self.process.stop(Self::STOP).await?;
        if !self.epmd.is_alive() {
            self.epmd.start_again(&[])?;
        }
        self.process.start_again(&[])?;
        self.wait_ready().await
    }

    /// The port mapper keeps running with the broker.
    fn detach(&mut self) {
        self.detached = true;
        self.process.detach();
        self.epmd.detach();
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        if !self.detached {
            for process in [&mut self.process, &mut self.epmd] {
                if let Err(error) = process.kill9() {
                    eprintln!("{error:#}");
                }
            }
            process::kill_with_environment(&self.home);
        }
    }
}

fn home_entry(dir: &Path) -> String {
    format!("HOME={}", dir.join("home").display())
}

fn configure(dir: &Path, identity: &Identity, certificate: Option<&Certificate>) -> Result<()> {
    private_dir(&dir.join("home"))?;
    private_dir(&dir.join("log"))?;
    // Erlang reads the cookie only if no other user can read or write it.
    let cookie = dir.join("home/.erlang.cookie");
    write_private(&cookie, &identity.cookie)?;
    fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400))?;
    fs::write(dir.join("enabled_plugins"), "[].\n")?;
    let listen = match certificate {
        None => format!("listeners.tcp.1 = 127.0.0.1:{}", identity.port),
        Some(files) => format!(
            "listeners.tcp = none\nlisteners.ssl.1 = 127.0.0.1:{}\nssl_options.certfile = {}\nssl_options.keyfile = {}\n\
             ssl_options.cacertfile = {}\nssl_options.verify = verify_none",
            identity.port,
            files.certificate.display(),
            files.key.display(),
            files.authority.display()
        ),
    };
    let configuration = format!(
        "{listen}\nloopback_users = none\ndefault_user = {USER}\ndefault_pass = {}\n\
         log.console = true\nlog.file = false\nvm_memory_high_watermark.absolute = 1GB\n",
        identity.password
    );
    write_private(&dir.join("rabbitmq.conf"), configuration)
}

fn broker_launch(dir: &Path, identity: &Identity, tls: bool) -> Result<Launch> {
    let home = install::rabbitmq_home().context("RabbitMQ is not installed")?;
    let at = |name: &str| dir.join(name).display().to_string();
    let none = at("none");
    let settings: [(&str, String); 19] = [
        ("HOME", at("home")),
        ("ERL_EPMD_PORT", identity.epmd_port.to_string()),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
        ("RABBITMQ_HOME", home.display().to_string()),
        ("RABBITMQ_NODENAME", "dev@localhost".into()),
        ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1".into()),
        ("RABBITMQ_NODE_PORT", identity.port.to_string()),
        ("RABBITMQ_DIST_PORT", identity.distribution_port.to_string()),
        // Without this, the distribution port is open to the network.
        ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}".into()),
        ("RABBITMQ_BASE", at("")),
        ("RABBITMQ_MNESIA_BASE", at("data")),
        ("RABBITMQ_LOG_BASE", at("log")),
        ("RABBITMQ_CONFIG_FILE", at("rabbitmq.conf")),
        // Files that do not exist replace the system's.
        ("RABBITMQ_ADVANCED_CONFIG_FILE", none.clone()),
        ("RABBITMQ_CONF_ENV_FILE", none),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", at("enabled_plugins")),
        ("RABBITMQ_PID_FILE", at("erlang.pid-file")),
        ("RABBITMQ_FEATURE_FLAGS_FILE", at("data/feature_flags")),
        ("RABBITMQ_GENERATED_CONFIG_DIR", at("data/config")),
    ];
    let launch = Launch::new("rabbitmq", home.join("sbin/rabbitmq-server"), dir);
    // These would open a port for plaintext, whatever the configuration says.
    let settings = settings.into_iter().filter(|(name, _)| !(tls && PLAINTEXT_LISTENER.contains(name)));
    Ok(settings.fold(launch, |launch, (name, value)| launch.env(name, value)))
}

fn epmd_launch(dir: &Path, identity: &Identity) -> Result<Launch> {
    let program: PathBuf = install::epmd().context("Erlang's epmd is not installed")?;
    Ok(Launch::new("epmd", program, dir).args(["-address", "127.0.0.1", "-port", &identity.epmd_port.to_string()]))
}
