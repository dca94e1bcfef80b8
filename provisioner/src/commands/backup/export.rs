//! `provisioner backup export`: the newest backup as SQL.

use crate::backup::dump::Line;
use crate::backup::{BackupError, Reader, Subject, choose};
use crate::commands::setup::Setup;
use kernel::database::sql::{COPY_MODE, COPY_SESSION};
use std::io::Write;
use std::process::ExitCode;

pub async fn run(setup: &Setup, subject: &Subject) -> Result<ExitCode, BackupError> {
    let stored = choose(&setup.backups, subject, None).await?;
    let mut reader = Reader::open(&setup.backups, &setup.keys, subject, &stored).await?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    writeln!(out, "{COPY_MODE}; {COPY_SESSION}; SET NAMES utf8mb4;")?;
    // The backup has stored objects first. They are created last, when their tables are there.
    let mut objects = Vec::new();
    while let Some(line) = reader.statement().await? {
        match Line::read(line)? {
            Line::Object(object) => objects.push(object),
            Line::Statement(statement) => writeln!(out, "{statement};")?,
        }
    }
    for object in objects {
        writeln!(out, "{}", object.for_a_client()?)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
