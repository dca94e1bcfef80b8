//! Every link in a Markdown file leads to a file, and to a heading of it if it names one. The top README stays short.

use anyhow::{Context, Result, ensure};
use harness::paths;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The folders with Markdown files.
const FOLDERS: [&str; 9] = [
    ".",
    "kernel",
    "control-plane",
    "provisioner",
    "provisioner/src/legacy",
    "data-plane",
    "deploy",
    "tests",
    "tests/legacy",
];

fn documents() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(paths::workspace().join(folder)).with_context(|| folder.to_owned())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// The lines outside blocks of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The targets of `[text](target)`.
fn links(text: &str) -> Vec<&str> {
    prose(text).flat_map(|line| line.split("](").skip(1)).filter_map(|rest| rest.split(')').next()).collect()
}

/// The anchors of a document's headings of level two and more, as code hosts derive them.
pub fn anchors(text: &str) -> BTreeSet<String> {
    let titles = prose(text).filter(|line| line.starts_with("##")).map(|line| line.trim_start_matches('#').trim());
    titles
        .map(|title| {
            let dashed = title.to_lowercase().replace(' ', "-");
            dashed.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
        })
        .collect()
}

/// The most bytes of the top README. What is longer belongs to the README of the folder it is about.
const README_BYTES: usize = 8_192;

#[test]
fn the_top_readme_has_at_most_eight_kilobytes() -> Result<()> {
    let bytes = fs::read(paths::workspace().join("README.md"))?.len();
    ensure!(bytes <= README_BYTES, "README.md has {bytes} bytes, of at most {README_BYTES}");
    Ok(())
}

#[test]
fn every_link_of_a_document_leads_somewhere() -> Result<()> {
    let mut checked = 0;
    for document in documents()? {
        let name = document.strip_prefix(paths::workspace()).unwrap_or(&document).display().to_string();
        let text = fs::read_to_string(&document)?;
        let folder = document.parent().unwrap_or(Path::new("."));
        for link in links(&text).into_iter().filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
            let target = if path.is_empty() { document.clone() } else { folder.join(path) };
            ensure!(target.exists(), "{name} links to {link}, which does not exist");
            if let Some(anchor) = anchor.filter(|_| target.extension().is_some_and(|extension| extension == "md")) {
                let anchors = anchors(&fs::read_to_string(&target)?);
                ensure!(anchors.contains(anchor), "{name} links to {link}, and no heading has that anchor");
            }
            checked += 1;
        }
    }
    ensure!(checked > 20, "only {checked} links were found");
    Ok(())
}
