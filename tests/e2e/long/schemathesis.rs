//! schemathesis reads both OpenAPI documents, sends whatever they allow and much that they do not, and compares every
//! answer with them. It finds no 5xx, no undocumented status, body, type or header, nothing invalid that is accepted,
//! and nothing that is served without a token.
//!
//! It asks each API in three ways: with arbitrary values, where most answers are refusals; with existing ids, so that
//! answers contain rows; and in sequences, where one answer gives the values of the next request.

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::files::write_private;
use harness::stack::{Stack, StackOptions};
use harness::{demo, python};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Stdio;

const PACKAGE: &str = "schemathesis==4.32.5\n";

/// Requests to each operation for each way of generating them. The examples of the documents come on top.
const EXAMPLES: &str = "40";

/// All checks are on except that allowed input is never refused: no document expresses rules between fields.
const CHECKS: &str = "[checks]\npositive_data_acceptance.enabled = false\n";

/// The old calls report errors with status 200, as they always did.
const OF_OLD_CALLS: &str = "ignored_auth.enabled = false\nnegative_data_rejection.enabled = false\n";

/// schemathesis takes an unknown header for a fault of these two, because they document a header.
const OF_EVENTS: &str =
    "[[operations]]\ninclude-path-regex = \"/events$\"\nchecks.negative_data_rejection.enabled = false\n";

#[tokio::test]
#[ignore = "long: makes a Python virtualenv and asks some ten thousand questions"]
async fn no_answer_differs_from_the_openapi_documents() -> Result<()> {
    let bin = python::virtualenv("schemathesis", PACKAGE).await?;
    let options = StackOptions::for_test("schemathesis")?
        .with_env("control-plane", "SIGNUPS_PER_ADDRESS_PER_HOUR", "1000000")
        .with_env("control-plane", "SIGNUPS_PER_HOUR", "1000000");
    let stack = Stack::start(options).await?;
    let (admin, urls) = (stack.admin(), &stack.urls);
    let demo = demo::ensure(&admin, &stack.tenant_api(0), &urls.system.migrator, &urls.root, stack.dir()).await?;
    for user in &demo.users {
        admin.put_member("default", user, "admin").await?;
    }
    let sign_up = "/admin/config/system.tenant_signup_enabled";
    admin.request("PUT", sign_up, Some(json!({"value": true})), &[]).await?.expect::<serde_json::Value>(200)?;
    let seed = match std::env::var("SCHEMATHESIS_SEED") {
        Ok(seed) => seed.parse().context("SCHEMATHESIS_SEED is a number")?,
        Err(_) => rand::random::<u32>(),
    };
    println!("SCHEMATHESIS_SEED={seed}");
    let judge = Judge { program: bin.join("st"), dir: stack.dir().to_owned(), seed };

    // Requests as the admin of the demo tenant. The old calls report errors with status 200 and take tokens from
    // anywhere.
    let node = stack.data_planes[0].url();
    let user = format!("Bearer {}", demo.token);
    let old = ["--include-path-regex", "^/api/legacy/"];
    let new = ["--exclude-path-regex", "^/api/legacy/"];
    let there = [("user_id", demo.users[2].as_str()), ("shifu_id", "demo-shifu-1")];
    for (name, known) in [("node-anything", &[][..]), ("node-known", &there[..])] {
        let headers = [("Authorization", user.as_str()), ("X-Tenant-ID", demo::TENANT)];
        judge.asks(name, node, &headers, known, ("", ""), &new).await?;
        let name = format!("{name}-old");
        judge.asks(&name, node, &headers[..1], known, (OF_OLD_CALLS, ""), &old).await?;
    }

    // Requests as an administrator. They change everything, so those with existing ids come first.
    let token = [("X-Admin-Token", stack.admin_token.as_str())];
    admin.create_active_tenant("known", Some("known.example.com"), SOON).await?;
    let (user_id, _) = world::user(&admin, "known", &[("known", "user")]).await?;
    let there = [
        ("tenant_id", "known"),
        ("user_id", user_id.as_str()),
        ("domain", "known.example.com"),
        ("key", "tenant.name"),
    ];
    for (name, known) in [("admin-known", &there[..]), ("admin-anything", &[][..])] {
        judge.asks(name, stack.control_plane_url(), &token, known, ("", OF_EVENTS), &[]).await?;
    }
    Ok(())
}

struct Judge {
    program: PathBuf,
    dir: PathBuf,
    seed: u32,
}

impl Judge {
    /// Fails with the output of schemathesis if it finds anything wrong. `more` is configuration for the checks of all
    /// operations and of some.
    async fn asks(
        &self,
        name: &str,
        url: &str,
        headers: &[(&str, &str)],
        known: &[(&str, &str)],
        more: (&str, &str),
        args: &[&str],
    ) -> Result<()> {
        // The configuration is in a file, because other users of the machine can read arguments.
        let mut config = format!("{CHECKS}{}[headers]\n", more.0);
        headers.iter().for_each(|(name, value)| config.push_str(&format!("{name:?} = {value:?}\n")));
        config.push_str("[parameters]\n");
        known.iter().for_each(|(name, value)| config.push_str(&format!("\"path.{name}\" = {value:?}\n")));
        config.push_str(more.1);
        let file = self.dir.join(format!("{name}.toml"));
        write_private(&file, &config)?;
        let printed = self.printed(&file, url, args).await?;
        let tested = printed.lines().any(|line| line.contains("Tested: ") && !line.ends_with(" 0"));
        ensure!(printed.contains("passed") && tested, "{name}: schemathesis sent no request\n{printed}");
        println!("{name}: {}", printed.lines().find(|line| line.contains("generated")).unwrap_or_default().trim());
        Ok(())
    }

    async fn printed(&self, config: &Path, url: &str, args: &[&str]) -> Result<String> {
        let seed = self.seed.to_string();
        let mut command = tokio::process::Command::new(&self.program);
        command.arg("--config-file").arg(config).args(["run", &format!("{url}/openapi.json")]);
        command.args(["--max-examples", EXAMPLES, "--seed", &seed, "--workers", "2"]);
        command.args(["--no-color", "--continue-on-failure", "--generation-database", "none"]).args(args);
        command.current_dir(&self.dir).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.context("start schemathesis")?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "again with SCHEMATHESIS_SEED={seed}\n{printed}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(printed)
    }
}
