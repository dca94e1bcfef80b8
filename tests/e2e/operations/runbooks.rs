//! Every command of our programs in the runbooks exists with all its arguments, and every call of the admin API is in
//! its document. The tests of each part show what the commands do.

use anyhow::{Context, Result, ensure};
use harness::paths;
use serde_json::Value;
use std::process::Command;

/// Documents with commands for the operator.
const DOCUMENTS: [&str; 7] = [
    "README.md",
    "control-plane/README.md",
    "deploy/OPERATIONS.md",
    "deploy/README.md",
    "deploy/SCALE.md",
    "provisioner/README.md",
    "provisioner/src/legacy/README.md",
];

/// Placeholders in the documents, and values for them.
const PLACES: [(&str, &str); 7] = [
    ("TENANT", "acme"),
    ("NEW_ID", "acme-copy"),
    ("LOST", "main"),
    ("NAME", "audit"),
    ("TIME", "2026-11-01T00:00:00Z"),
    ("DAY", "2026-11-01"),
    ("SERVER", "eu2"),
];

/// The spans and lines of code of a document, without comments.
fn code(text: &str) -> Vec<String> {
    let (mut found, mut fenced) = (Vec::new(), false);
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            found.push(line.split(" #").next().unwrap_or_default().trim().to_owned());
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

fn documents() -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for document in DOCUMENTS {
        let text = std::fs::read_to_string(paths::workspace().join(document))?;
        all.extend(code(&text).into_iter().map(|line| (document.to_owned(), line)));
    }
    Ok(all)
}

/// A wrong usage exits with code 2 before the program reads any setting. All other errors have other codes.
#[test]
fn every_command_of_the_runbooks_exists() -> Result<()> {
    let mut tried = 0;
    for (document, line) in documents()? {
        let mut words = line.split_whitespace();
        let Some(program @ ("provisioner" | "control-plane" | "data-plane")) = words.next() else { continue };
        let words: Vec<String> = words
            .map(|word| {
                let place = PLACES.iter().find(|(place, _)| *place == word);
                place.map_or(word, |(_, value)| *value).trim_end_matches(',').to_owned()
            })
            .collect();
        // Other spans name a part of the program, or list commands.
        let is_command = words.first().is_some_and(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-'));
        if !is_command || line.contains('|') || line.contains(">") || line.contains("...") {
            continue;
        }
        let binary = paths::target().join("debug").join(program);
        let run = |more: &[&str]| {
            let output = Command::new(&binary).args(&words).args(more).env_clear().output();
            output.with_context(|| format!("start {}", binary.display()))
        };
        let output = run(&[])?;
        let printed = String::from_utf8_lossy(&output.stderr);
        // A sentence may name a command without its arguments.
        let is_named = printed.contains("required arguments were not provided") || printed.contains("\nCommands:\n");
        let exists = match output.status.code() {
            Some(2) => is_named && run(&["--help"])?.status.success(),
            code => code.is_some(),
        };
        ensure!(exists, "{document}: `{line}`: {printed}");
        tried += 1;
    }
    ensure!(tried > 40, "{tried} commands were found");
    Ok(())
}

#[test]
fn every_admin_call_of_the_runbooks_is_documented() -> Result<()> {
    let document = std::fs::read(paths::workspace().join("deploy/openapi/control-plane.json"))?;
    let document: Value = serde_json::from_slice(&document)?;
    let known = document["paths"].as_object().context("paths")?;
    let mut found = 0;
    for (document, line) in documents()? {
        let Some(call) = line.strip_prefix("admin ") else { continue };
        let method = call.split("-X ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or("GET").to_lowercase();
        let path = call.split("$CONTROL_PLANE_URL").nth(1).with_context(|| line.clone())?;
        let path = path.split(['?', '"', ' ']).next().unwrap_or_default();
        let parts: Vec<&str> = path.split('/').collect();
        let fits = |template: &str| {
            let template: Vec<&str> = template.split('/').collect();
            template.len() == parts.len() && template.iter().zip(&parts).all(|(a, b)| a.starts_with('{') || a == b)
        };
        let operation = known.iter().find(|(template, _)| fits(template)).map(|(_, operation)| operation);
        let operation = operation.with_context(|| format!("{document}: `{line}`: there is no {path}"))?;
        ensure!(operation[&method].is_object(), "{document}: `{line}`: {path} has no {method}");
        found += 1;
    }
    ensure!(found > 10, "{found} calls were found");
    Ok(())
}
