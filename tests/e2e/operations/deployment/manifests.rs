//! Manifests of Kubernetes.

use super::{check_environment, checkers, deploy, documents, keys, output, strings};
use anyhow::{Context, Result, ensure};
use harness::stack::Role;
use serde_json::Value;
use std::collections::BTreeSet;

/// The oldest and the newest Kubernetes that the manifests are for.
const KUBERNETES: [&str; 2] = ["1.29.0", "1.37.0"];

#[tokio::test]
async fn the_manifests_are_valid_and_keep_the_rules() -> Result<()> {
    let checkers = checkers().await?;
    let folder = deploy("kubernetes");
    for (folder, file) in
        [("kubernetes", "kustomization.yaml"), ("kubernetes", "secrets.md"), ("systemd", "migrate.service")]
    {
        let text = std::fs::read_to_string(deploy(folder).join(file))?;
        ensure!(text.contains("tables.sql"), "{file} does not say how the services get their rights on new tables");
    }
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
                ensure!(container[probe]["httpGet"]["port"] == "internal", "{name}: the {probe} asks the public port");
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
    // While the system database is away no control plane is ready, and `GET /admin/health` must be reachable then.
    let mut services = deployments.clone();
    services.insert("control-plane-health");
    for (kind, of) in [("Service", &services), ("PodDisruptionBudget", &deployments)] {
        let named: BTreeSet<&str> = of_kind(kind).iter().filter_map(|one| one["metadata"]["name"].as_str()).collect();
        assert_eq!(&named, of, "{kind}");
    }
    // The policies close everything except what a service needs: the servers, DNS, traces, backups, and its own
    // clients.
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
        let public = if of == "provisioner" { None } else { Some("http".to_owned()) };
        let expected: BTreeSet<String> = public.into_iter().chain(["internal".to_owned()]).collect();
        assert_eq!(ports(of, "ingress"), expected, "the ways into {of}");
    }
    let health = of_kind("Service").into_iter().find(|service| service["metadata"]["name"] == "control-plane-health");
    ensure!(health.is_some_and(|service| service["spec"]["publishNotReadyAddresses"] == true), "health while unready");
    ensure!(shared.contains("TRUSTED_PROXIES"), "behind an ingress controller all strangers would have one address");
    let scaled: BTreeSet<&str> = of_kind("HorizontalPodAutoscaler")
        .iter()
        .filter_map(|one| one["spec"]["scaleTargetRef"]["name"].as_str())
        .collect();
    assert_eq!(scaled, ["data-plane", "provisioner"].into());
    Ok(())
}
