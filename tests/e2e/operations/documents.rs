//! The README stays true: its settings are those of `deploy/defaults.env`, and what it points at exists.

use kernel::process::config::DEFAULTS;
use std::collections::BTreeMap;
use std::path::Path;

const README: &str = include_str!("../../../README.md");

/// Settings of the defaults file: those with a default, and those that a comment calls required, secret or optional.
fn documented() -> BTreeMap<String, Option<String>> {
    let name =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit());
    DEFAULTS
        .lines()
        .filter_map(|line| match line.strip_prefix("# ") {
            Some(comment) => {
                let first = comment.split([' ', ':']).next().filter(|word| name(word) && word.contains('_'))?;
                let required = comment[first.len()..].starts_with(" (");
                required.then(|| (first.to_owned(), None))
            }
            None => line.split_once('=').map(|(name, value)| (name.to_owned(), Some(value.to_owned()))),
        })
        .collect()
}

#[test]
fn the_settings_of_the_readme_are_those_of_the_defaults_file() {
    let table: BTreeMap<&str, &str> = README
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split_once("` | "))
        // The tables of calls begin with a method.
        .filter(|(name, _)| name.contains('_') && !name.contains(['/', ' ', '.', '{']) || *name == "LOG")
        .filter(|(name, _)| name.starts_with(|c: char| c.is_ascii_uppercase()))
        .map(|(name, rest)| (name, rest.split(" |").next().unwrap_or_default()))
        .collect();
    let documented = documented();
    for (name, default) in &documented {
        let shown = match (name.as_str(), table.get(name.as_str())) {
            ("TENANT_DB_ADMIN_URL_EU2", _) => continue,
            (_, Some(shown)) => *shown,
            (_, None) => panic!("{name} is not in the README"),
        };
        match default.as_deref() {
            None if name == "REDIS_URL" => {}
            None => assert_eq!(shown, "required", "{name}"),
            Some("") => assert!(!shown.contains('`'), "{name} has no default"),
            Some(default) => assert!(shown.contains(&format!("`{default}`")), "{name}: {shown} is not {default}"),
        }
    }
    for name in table.keys() {
        assert!(documented.contains_key(*name) || name.ends_with("<NAME>"), "{name} is not in the defaults file");
    }
}

#[test]
fn what_the_readme_points_at_exists() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let links: Vec<&str> = README.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(links.len() > 20);
    for link in links.iter().filter(|link| !link.contains("://")) {
        assert!(top.join(link).exists(), "{link}");
    }
}
