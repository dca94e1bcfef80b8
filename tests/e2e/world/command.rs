//! Commands of the services, and how they ended.

use anyhow::{Result, ensure};
use harness::stack::{Env, Role, Stack};
use serde_json::Value;
use std::process::Output;

/// How a command of a service ended.
pub struct Answer {
    /// `None` when it was killed.
    pub code: Option<i32>,
    /// `Null` when it printed no JSON.
    pub json: Value,
    pub errors: String,
}

impl Answer {
    pub fn of(output: &Output) -> Self {
        let json = serde_json::from_slice(&output.stdout).unwrap_or_default();
        Self { code: output.status.code(), json, errors: String::from_utf8_lossy(&output.stderr).into_owned() }
    }

    pub fn expect(self, code: i32) -> Result<Self> {
        ensure!(self.code == Some(code), "exit code {:?}, expected {code}\n{}\n{}", self.code, self.json, self.errors);
        Ok(self)
    }

    /// Checks that the command was killed.
    pub fn killed(self) -> Result<()> {
        ensure!(self.code.is_none(), "exit code {:?}, expected a kill\n{}\n{}", self.code, self.json, self.errors);
        Ok(())
    }
}

/// Runs a command of a service, with these variables besides those that the service has in this stack.
pub async fn command(stack: &Stack, role: Role, args: &[&str], env: &[(&str, &str)]) -> Result<Answer> {
    let env: Env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Ok(Answer::of(&stack.output(role, args, &env).await?))
}
