//! A dump of the source before the cut-over, which the server's own program takes.
//!
//! **Design note.** A backup of [`crate::backup`] is sealed under the key ring of the new system. This dump is for the
//! case that the new system is given up: the operators of the old server must be able to load it with that server's own
//! program and without a key. It is therefore plain SQL in a file that only its owner may read. An operator who stores
//! it for long encrypts it.

use super::LegacyError;
use super::checks::{Kind, Problem};
use super::source::Source;
use kernel::database::tls;
use secrecy::ExposeSecret;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// The programs that can take a dump, in the order of preference.
const PROGRAMS: [&str; 2] = ["mariadb-dump", "mysqldump"];

/// The words at the end of a complete dump.
const END: &str = "-- Dump completed";

/// Writes the dump into `dir`, readable by its owner only, and returns its path. `problems` names the code that the
/// source has. A dump gets its name when it is complete.
pub async fn make(source: &Source, dir: &Path, problems: &[Problem]) -> Result<PathBuf, LegacyError> {
    let program = PROGRAMS.iter().find_map(|program| find(program)).ok_or_else(|| {
        LegacyError::Refused(
            "neither mariadb-dump nor mysqldump is installed: install one, or give --skip-backup".into(),
        )
    })?;
    fs::create_dir_all(dir).map_err(failed(format!("creating {}", dir.display())))?;
    let time = chrono::Utc::now().format("%Y%m%dT%H%M%SZ").to_string();
    let path = dir.join(format!("{}-{time}.sql", source.database.replace('/', "_")));
    let half = path.with_extension("sql.half");
    // The password goes into a file that only this user can read. Other users can read arguments and, on some systems,
    // the environment.
    let (options, trusted) = (dir.join(format!(".{time}.cnf")), dir.join(format!(".{time}.pem")));
    let written = match client_files(source, &options, &trusted) {
        Ok(()) => dump(source, &program, &options, problems, &half).await,
        Err(error) => Err(failed(format!("writing {}", options.display()))(error)),
    };
    let _ = fs::remove_file(&options);
    let _ = fs::remove_file(&trusted);
    match written {
        Ok(()) => fs::rename(&half, &path).map_err(failed(format!("naming {}", path.display()))).map(|()| path),
        Err(error) => {
            let _ = fs::remove_file(&half);
            Err(error)
        }
    }
}

fn failed(doing: String) -> impl FnOnce(std::io::Error) -> LegacyError {
    move |source| LegacyError::File { doing, source }
}

async fn dump(
    source: &Source,
    program: &Path,
    options: &Path,
    problems: &[Problem],
    half: &Path,
) -> Result<(), LegacyError> {
    let writing = || failed(format!("writing {}", half.display()));
    let mut dump = private(half).map_err(writing())?;
    let child = tokio::process::Command::new(program)
        .arg(format!("--defaults-extra-file={}", options.display()))
        .args(["--single-transaction", "--quick", "--hex-blob", "--no-tablespaces", "--default-character-set=utf8mb4"])
        .args(code(problems))
        .arg(&source.database)
        .stdin(Stdio::null())
        .stdout(dump.try_clone().map_err(writing())?)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    // `output()` would capture the standard output, which is the dump.
    let output = match child {
        Ok(child) => child.wait_with_output().await,
        Err(error) => Err(error),
    };
    let output = output.map_err(failed(format!("starting {}", program.display())))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(LegacyError::Stopped(format!("{} failed ({}): {words}", program.display(), output.status)));
    }
    dump.sync_all().map_err(writing())?;
    match is_complete(&mut dump).map_err(writing())? {
        true => Ok(()),
        false => Err(LegacyError::Stopped(format!("the dump that {} took has no end", program.display()))),
    }
}

/// Writes the files from which the program reads the account.
fn client_files(source: &Source, options: &Path, trusted: &Path) -> std::io::Result<()> {
    private(options)?.write_all(client_options(source, trusted)?.as_bytes())?;
    match tls::policy().authorities() {
        Some(pem) => private(trusted)?.write_all(pem.as_bytes()),
        None => Ok(()),
    }
}

/// Options for the code that the source has. Without code they would only need rights that the account may lack.
fn code(problems: &[Problem]) -> impl Iterator<Item = &'static str> {
    let has = |what: &str| problems.iter().any(|problem| problem.kind == Kind::Code && problem.column == what);
    [(has("routine"), "--routines"), (has("event"), "--events")]
        .into_iter()
        .filter_map(|(has, option)| has.then_some(option))
}

fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(program)).find(|path| path.is_file())
}

fn private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

fn is_complete(dump: &mut File) -> std::io::Result<bool> {
    let length = dump.metadata()?.len();
    dump.seek(SeekFrom::Start(length.saturating_sub(200)))?;
    let mut end = Vec::new();
    dump.read_to_end(&mut end)?;
    Ok(String::from_utf8_lossy(&end).contains(END))
}

fn client_options(source: &Source, trusted: &Path) -> std::io::Result<String> {
    let url =
        url::Url::parse(source.url().expose_secret()).map_err(|_| std::io::Error::other("LEGACY_DB_URL is no URL"))?;
    // Decodes percent-encoded characters, as the driver does.
    let decoded = |text: &str| {
        let pair = format!("v={}", text.replace('+', "%2B"));
        url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    let quoted = |text: &str| format!("\"{}\"", decoded(text).replace('\\', "\\\\").replace('"', "\\\""));
    let options = source.options();
    let encrypted = tls::policy().client_options(options, trusted);
    Ok(format!(
        "[client]\nprotocol=tcp\nhost={}\nport={}\nuser={}\npassword={}\n{encrypted}",
        options.get_host(),
        options.get_port(),
        quoted(url.username()),
        quoted(url.password().unwrap_or_default()),
    ))
}
