//! A restore names and refuses a backup that was changed, cut or exchanged. Without its key a backup shows nothing.

use super::{CANARY, FOUND, REFUSED, assert_equal, back_up, files, odd_tenant, options, run, spoil, sums};
use anyhow::{Context, Result, ensure};
use harness::stack::{Stack, new_encryption_key};
use std::fs;

#[tokio::test]
async fn a_damaged_backup_is_named_and_no_backup_shows_a_secret() -> Result<()> {
    let stack = Stack::start(options("backup-damage")?).await?;
    odd_tenant(&stack, "acme", 20_000).await?;
    let backup = back_up(&stack, "acme").await?;
    let [data, manifest] = files(&stack, "acme", &backup);
    let (whole, described) = (fs::read(&data)?, fs::read(&manifest)?);

    // Without the key ring, the files show neither a text of the tenant nor a key.
    let secret = stack.encryption_keys().split_once(':').context("a key")?.1;
    for file in [&whole, &described] {
        for word in [CANARY, secret, "INSERT INTO", "learn_progress_records`"] {
            let found = file.windows(word.len()).any(|bytes| bytes == word.as_bytes());
            ensure!(!found, "{word} can be read");
        }
    }
    let exported = run(&stack, &["backup", "export", "acme"], &[]).await?.expect(0)?;
    ensure!(exported.errors.is_empty(), "{}", exported.errors);

    // One byte of any chunk or of the manifest is changed, the data is cut, or it is the data of another backup.
    let name = format!("tenants/acme/{backup}.data");
    ensure!(whole.len() > 600_000, "the backup has one chunk only: {}", whole.len());
    for (at, chunk) in [(10, 0), (300_000, 1), (whole.len() - 1, whole.len().div_ceil(262_160) - 1)] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&data, &changed)?;
        let verified = run(&stack, &["backup", "verify", "acme", "--json"], &[]).await?.expect(FOUND)?;
        let error = verified.json[0]["error"].as_str().unwrap_or_default().to_owned();
        ensure!(error.contains(&name) && error.contains(&format!("chunk {chunk}")), "{error}");
    }
    spoil(&stack, "acme").await?;
    let spoilt = sums(&stack.urls.root, "acme").await?;
    let failed = run(&stack, &["restore", "acme"], &[]).await?.expect(1)?;
    ensure!(failed.errors.contains(&name), "{}", failed.errors);
    assert_equal(&spoilt, &sums(&stack.urls.root, "acme").await?, "a failed restore changed the data")?;
    ensure!(stack.admin().tenant("acme").await?.state == "active", "the data in use is what it was, and in service");
    fs::write(&data, &whole[..524_320])?;
    let verified = run(&stack, &["backup", "verify", "acme", "--json"], &[]).await?.expect(FOUND)?;
    ensure!(verified.json[0]["error"].as_str().is_some_and(|error| error.contains("bytes")), "{}", verified.json);
    let another = back_up(&stack, "acme").await?;
    let [other_data, other_manifest] = files(&stack, "acme", &another);
    fs::copy(&other_data, &data)?;
    run(&stack, &["backup", "verify", "acme"], &[]).await?.expect(FOUND)?;
    fs::write(&data, &whole)?;
    run(&stack, &["backup", "verify", "acme"], &[]).await?.expect(0)?;

    // One word of the manifest is changed, or it is the manifest of another backup.
    let text = String::from_utf8(described.clone())?;
    let changed = text.replacen("\"position\":", "\"position\":1", 1);
    ensure!(changed != text);
    fs::write(&manifest, changed)?;
    let verified = run(&stack, &["backup", "verify", "acme", "--json"], &[]).await?.expect(FOUND)?;
    let error = verified.json[0]["error"].as_str().unwrap_or_default().to_owned();
    ensure!(error.contains(&format!("{backup}.manifest")) && error.contains("changed"), "{error}");
    fs::copy(&other_manifest, &manifest)?;
    run(&stack, &["backup", "verify", "acme"], &[]).await?.expect(FOUND)?;
    fs::write(&manifest, &described)?;

    // The services have another key ring.
    let other_ring = new_encryption_key("k9");
    let closed = run(&stack, &["restore", "acme"], &[("ENCRYPTION_KEYS", &other_ring)]).await?.expect(FOUND)?;
    ensure!(closed.errors.contains("needs the encryption key k1"), "{}", closed.errors);
    let same_name = new_encryption_key("k1");
    let closed = run(&stack, &["restore", "acme"], &[("ENCRYPTION_KEYS", &same_name)]).await?.expect(FOUND)?;
    ensure!(closed.errors.contains("k1") && closed.errors.contains("another key"), "{}", closed.errors);
    ensure!(stack.admin().tenant("acme").await?.state == "active", "the command refuses before it changes anything");

    // The tenant, the backup or the setting does not exist.
    for (args, words) in [
        (vec!["backup", "nobody"], "there is no tenant nobody"),
        (vec!["restore", "default"], "no backup of tenant default"),
        (vec!["restore", "acme", "--at", "2001-01-01T00:00:00Z"], "2001-01-01"),
        (vec!["restore", "acme", "--as", "default"], "exists"),
    ] {
        let refused = run(&stack, &args, &[]).await?.expect(REFUSED)?;
        ensure!(refused.errors.contains(words), "{args:?}: {}", refused.errors);
    }
    for (name, value) in [("BACKUP_STORE", ""), ("BACKUP_STORE", "ftp://x"), ("BACKUP_STORE", "s3://bucket/prefix")] {
        let refused = run(&stack, &["backup", "acme"], &[(name, value)]).await?.expect(REFUSED)?;
        let setting = if value.starts_with("s3") { "BACKUP_S3_ACCESS_KEY_ID" } else { name };
        ensure!(refused.errors.contains(setting), "{value}: {}", refused.errors);
    }
    Ok(())
}
