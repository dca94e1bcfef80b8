//! `provisioner backup export`: the newest backup as SQL.

use crate::backup::{BackupError, Reader, Subject, choose, dump};
use crate::commands::setup::Setup;
use kernel::database::sql::COPY_SESSION;
use std::io::Write;
use std::process::ExitCode;

pub async fn run(setup: &Setup, subject: &Subject) -> Result<ExitCode, BackupError> {
    let stored = choose(&setup.backups, subject, None).await?;
    let mut reader = Reader::open(&setup.backups, &setup.keys, subject, &stored).await?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    writeln!(out, "{COPY_SESSION}; SET NAMES utf8mb4; SET SESSION foreign_key_checks = 0;")?;
    // The backup has stored objects first. They are created last, when their tables are there.
    let mut objects = Vec::new();
    while let Some(statement) = reader.statement().await? {
        match dump::object(&statement)? {
            Some(object) => objects.push(object),
            None => writeln!(out, "{statement};")?,
        }
    }
    for object in objects {
        writeln!(out, "{}", object.for_a_client()?)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
