//! Units of systemd.

use super::{check_environment, deploy};
use anyhow::{Context, Result, ensure};
use harness::install::{self, Tool};
use tokio::process::Command;

/// The highest exposure that `systemd-analyze security` may report for a unit, from 0 (confined) to 10. It calls 2
/// "OK".
const EXPOSURE: f64 = 1.5;

#[tokio::test]
async fn the_units_are_valid_and_confined() -> Result<()> {
    install::ensure(&[Tool::Systemd]).await?;
    let analyze = install::program("systemd-analyze").context("systemd-analyze")?;
    let dir = harness::leftovers::fresh_dir("units")?;
    let mut units = 0;
    for entry in std::fs::read_dir(deploy("systemd"))? {
        let path = entry?.path();
        let name = path.file_name().context("a name")?.to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path)?;
        // The programs are not installed here, so another one replaces them.
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
        let printed = Command::new(&analyze).args(["verify", "--man=no", &copy]).output().await?;
        let printed = String::from_utf8_lossy(&printed.stderr).into_owned();
        ensure!(!printed.lines().any(|line| line.contains(&name)), "{printed}");
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
