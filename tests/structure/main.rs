//! The arrangement of the code: folders import downwards only, so that each can be read, tested and moved without the
//! ones above it.
//!
//! [`modules`] reads the source of a crate with `syn` and follows its `mod` items, [`graph`] finds rings of imports.
//! Code under `#[cfg(test)]` does not count: a test may use whatever it tests.

mod graph;
mod modules;

use graph::Imports;
use modules::Source;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const CRATES: [&str; 4] = ["kernel", "control-plane", "provisioner", "data-plane"];

/// What the rules of a tenant may use besides the language: plain values, their text forms and their descriptions.
const ALLOWED_IN_DOMAIN: [&str; 13] = [
    "alloc",
    "chrono",
    "core",
    "crate",
    "idna",
    "serde",
    "serde_json",
    "std",
    "thiserror",
    "unicode_normalization",
    "unicode_properties",
    "utoipa",
    "uuid",
];
/// Input and output, which the rules of a tenant do without.
const NOT_IN_DOMAIN: [&str; 6] = ["std::env", "std::fs", "std::io", "std::process", "std::thread", "std::time"];

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}

fn source(name: &str) -> Source {
    Source::of_crate(&top().join(name).join("src"))
}

#[test]
fn no_crate_has_a_ring_of_imports() {
    for name in CRATES {
        let source = source(name);
        assert!(source.modules.len() > 20, "{name}: only {} modules were read", source.modules.len());
        let imports = Imports::between(&source, &[]);
        assert!(imports.count() > 10, "{name}: only {} imports were seen", imports.count());
        assert_eq!(imports.rings(), Vec::<String>::new(), "{name}/src");
    }
}

#[test]
fn no_kind_of_job_imports_another() {
    let source = source("provisioner");
    let imports = Imports::between(&source, &["sagas"]);
    assert!(imports.count() > 10, "only {} imports were seen", imports.count());
    assert_eq!(imports.rings(), Vec::<String>::new(), "provisioner/src/sagas");
    let kinds = source.folders_below(&["sagas"]);
    assert!(kinds.len() > 10, "only {} folders were seen", kinds.len());
    for (from, to, file) in imports.all() {
        let crosses = kinds.contains(from) && kinds.contains(to) && to != "shared";
        assert!(!crosses, "{file}: the saga {from} imports the saga {to}; what both need belongs to shared");
    }
}

/// The types see to it that what a worker writes holds its lease. A statement on the pool would go around them.
#[test]
fn a_saga_writes_only_in_a_unit_that_holds_its_job() {
    let (mut folders, mut files) = (vec![top().join("provisioner/src/sagas")], 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder can be read").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("the file can be read");
            files += 1;
            for around in ["store.begin()", "pool.begin()", "pool().begin()"] {
                assert!(!text.contains(around), "{}: {around} writes without the lease of the job", path.display());
            }
            for on in arguments(&text, ".execute(") {
                assert!(!on.contains("pool"), "{}: .execute({on}) writes without the lease of the job", path.display());
            }
        }
    }
    assert!(files > 50, "only {files} files were read");
}

/// What stands in the parentheses of each of these calls.
fn arguments<'t>(text: &'t str, call: &'t str) -> impl Iterator<Item = &'t str> {
    text.match_indices(call).map(move |(at, _)| {
        let (rest, mut open) = (&text[at + call.len()..], 1);
        let closes = |letter: char| {
            open += match letter {
                '(' => 1,
                ')' => -1,
                _ => 0,
            };
            open == 0
        };
        &rest[..rest.find(closes).unwrap_or(rest.len())]
    })
}

#[test]
fn a_write_on_the_pool_is_seen_in_any_form() {
    let text = "a.execute(unit.connection()); b.execute(\n    &mut *context.tools.store.pool().acquire().await?\n)";
    let seen: Vec<bool> = arguments(text, ".execute(").map(|on| on.contains("pool")).collect();
    assert_eq!(seen, [false, true]);
}

#[test]
fn services_import_no_crate_of_ours_but_kernel() {
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--no-deps", "--format-version", "1", "--offline"]).current_dir(top());
    let output = command.output().expect("cargo metadata runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("there are packages");
    for name in CRATES {
        let package = packages.iter().find(|package| package["name"] == name).expect("the crate is in the workspace");
        let ours: BTreeSet<&str> = package["dependencies"]
            .as_array()
            .expect("there are dependencies")
            .iter()
            .filter(|dependency| dependency["path"].is_string())
            .filter_map(|dependency| dependency["name"].as_str())
            .collect();
        let allowed = if name == "kernel" { BTreeSet::new() } else { BTreeSet::from(["kernel"]) };
        assert_eq!(ours, allowed, "{name}/Cargo.toml");
    }
}

#[test]
fn the_rules_of_a_tenant_do_no_input_or_output() {
    let source = source("kernel");
    let mut read = 0;
    for module in source.modules.iter().filter(|module| module.path.first().is_some_and(|name| name == "domain")) {
        read += 1;
        for path in &module.paths {
            let (root, file) = (path[0].as_str(), &module.file);
            let ours = root == "crate" && path.get(1).is_none_or(|name| name == "domain");
            let known = source.is_local(module, root) || (root != "crate" && ALLOWED_IN_DOMAIN.contains(&root));
            assert!(ours || known, "{file} names {}", path.join("::"));
            let io = NOT_IN_DOMAIN.iter().find(|io| path.join("::").starts_with(*io));
            assert_eq!(io, None, "{file} names {}", path.join("::"));
        }
    }
    assert!(read > 8, "only {read} modules were read");
}
