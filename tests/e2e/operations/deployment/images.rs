//! Images and compose files.

use super::{check_environment, checkers, compose, deploy, documents, keys, output, strings};
use anyhow::{Context, Result, ensure};
use harness::stack::Role;

#[tokio::test]
async fn images_and_compose_file_keep_the_rules_of_this_project() -> Result<()> {
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
            ensure!(
                service["read_only"] == true && service["cap_drop"][0] == "ALL",
                "{name} has more rights than it needs"
            );
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
        ensure!(service["environment"]["BACKUP_STORE"].is_string(), "{name} has no settings of the backup store");
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
