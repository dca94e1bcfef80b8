//! Backups and restores, with every oddity, over kills, damage and lost keys. The checksums that decide what is equal
//! share no code with the services ([`harness::legacy::checksum`]).

mod clock;
mod damage;
mod in_place;
mod keys;
mod leftovers;
mod lost_server;
mod new_tenant;
mod ownership;
mod planted;
mod s3;
mod stored_objects;
mod system;
mod unfit;

use crate::world::{self, Answer, SOON};
use anyhow::{Context, Result, ensure};
use harness::legacy::checksum::{self, Sums};
use harness::legacy::schema::{self, DATABASE, Generation};
use harness::legacy::{fill, oddities};
use harness::stack::Role;
use harness::stack::{Stack, StackOptions};
use sqlx::{Executor, MySqlConnection};
use std::path::PathBuf;

const REFUSED: i32 = 3;
const FOUND: i32 = 4;

/// A text that only the owner of the keys can read in a backup.
const CANARY: &str = "canary-of-a-tenant-4711";

/// A stack without nodes, with a store of backups.
fn options(name: &str) -> Result<StackOptions> {
    with_store(world::without_nodes(name)?)
}

fn with_store(options: StackOptions) -> Result<StackOptions> {
    let url = format!("file://{}/backups", options.dir.display());
    Ok(options.with_env("provisioner", "BACKUP_STORE", &url))
}

/// Runs `provisioner ARGS`.
async fn run(stack: &Stack, args: &[&str], env: &[(&str, &str)]) -> Result<Answer> {
    world::command(stack, Role::Provisioner, args, env).await
}

/// Runs `provisioner ARGS`, which is killed at this point.
async fn killed_at(stack: &Stack, args: &[&str], point: &str) -> Result<()> {
    run(stack, args, &[("FAILPOINTS", &format!("{point}=kill"))]).await?.killed()
}

/// Takes a backup of a tenant and returns its id.
async fn back_up(stack: &Stack, tenant: &str) -> Result<String> {
    let taken = run(stack, &["backup", tenant, "--json"], &[]).await?.expect(0)?;
    Ok(taken.json["backup_id"].as_str().context("an id")?.to_owned())
}

/// The file with the data of a backup, and its manifest.
fn files(stack: &Stack, tenant: &str, backup_id: &str) -> [PathBuf; 2] {
    ["data", "manifest"].map(|ending| stack.dir().join(format!("backups/tenants/{tenant}/{backup_id}.{ending}")))
}

/// The checksums of a tenant's database.
async fn sums(root_url: &str, tenant: &str) -> Result<Sums> {
    checksum::of_database(root_url, &database(tenant)).await
}

fn database(tenant: &str) -> String {
    format!("ai_shifu_tenant_{tenant}")
}

fn assert_equal(expected: &Sums, found: &Sums, when: &str) -> Result<()> {
    let different = checksum::differences(expected, found);
    ensure!(different.is_empty(), "{when}:\n{}", different.join("\n"));
    let names = |sums: &Sums| sums.keys().cloned().collect::<Vec<_>>();
    ensure!(names(expected) == names(found), "{when}: other tables: {:?}", names(found));
    Ok(())
}

/// Creates an active tenant whose database holds old tables with every oddity, and some odd tables more.
async fn odd_tenant(stack: &Stack, tenant: &str, rows: u64) -> Result<Sums> {
    stack.admin().create_active_tenant(tenant, None, SOON).await?;
    let root = &stack.urls.root;
    schema::create(root, DATABASE, Generation::November2025).await?;
    fill::fill(root, DATABASE, 7, rows).await?;
    oddities::plant(root, DATABASE, 7).await?;
    let mut connection = schema::connect(root, DATABASE).await?;
    let tables: Vec<(String,)> = sqlx::query_as(
        "SELECT CONVERT(TABLE_NAME USING utf8mb4) FROM information_schema.TABLES WHERE TABLE_SCHEMA = ?",
    )
    .bind(DATABASE)
    .fetch_all(&mut connection)
    .await?;
    let database = database(tenant);
    for (table,) in tables {
        let moved =
            format!("DROP TABLE IF EXISTS `{database}`.`{table}`; RENAME TABLE `{table}` TO `{database}`.`{table}`");
        connection.execute(sqlx::raw_sql(&moved)).await?;
    }
    connection.execute(sqlx::raw_sql(&format!("USE `{database}`; {ODD}"))).await?;
    sqlx::query("INSERT INTO odd (id, body) VALUES (100, ?)").bind(CANARY).execute(&mut connection).await?;
    sums(root, tenant).await
}

/// Tables with what the old ones lack: every other type, values at the ends of their ranges, no key, a computed
/// column.
const ODD: &str = r#"
CREATE TABLE odd (
    id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, body TEXT NOT NULL DEFAULT ('') COMMENT 'it''s; a "comment"
of two lines', bits BIT(12), single FLOAT, twice DOUBLE, exact DECIMAL(30,10), kind ENUM('a','b''c',''), some SET('x','y'),
    fixed BINARY(4), bytes VARBINARY(20), large LONGBLOB, day DATE, clock TIME(6), moment DATETIME(6), stamp TIMESTAMP(3) NULL,
    jahr YEAR, doc JSON, big BIGINT UNSIGNED, changed TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    twofold INT AS (bits * 2) STORED, seen INT AS (LENGTH(body)) VIRTUAL, latin VARCHAR(20) CHARACTER SET latin1, `a b` INT, KEY (changed)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
INSERT INTO odd (id, body, bits, single, twice, exact, kind, some, fixed, bytes, large, day, clock, moment, stamp, jahr, doc, big, changed, latin, `a b`) VALUES
 (0, 'a\nb\r\nc\\n;\n-- d', b'101010101010', 0.1, 0.1, 12345678901234567890.0123456789, 'b''c', 'x,y', 'ab\0', X'00FF0A27', REPEAT(X'0A00FF', 70000),
  '1000-01-01', '-838:59:58.999999', '9999-12-31 23:59:59.999999', '2038-01-19 03:14:07.999', 2155, '{"a": "\\n😀"}', 18446744073709551615, '2001-02-03 04:05:06', 'äé', 1),
 (5, '😀𠀋', b'0', -3.4028234e38, 1.7976931348623157e308, -0.0000000001, '', '', X'00000000', '', '', NULL, '838:59:59', NULL, NULL, 0, NULL, 0, '2001-02-03 04:05:07', NULL, NULL),
 (-7, '', NULL, 1e-38, 5e-324, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2001-02-03 04:05:08', 'x', -1);
SET SESSION sql_mode = 'ALLOW_INVALID_DATES';
INSERT INTO odd (id, day, moment) VALUES (6, '0000-00-00', '2025-02-31 00:00:00'), (8, '2025-00-01', '0000-00-00');
CREATE TABLE keyless (a INT, b VARCHAR(10)) DEFAULT CHARSET=utf8mb4;
INSERT INTO keyless VALUES (1, 'x'), (1, 'x'), (NULL, NULL), (2, 'x ');
CREATE TABLE `empty one` (`the id` INT PRIMARY KEY AUTO_INCREMENT) AUTO_INCREMENT=4711"#;

/// Damages a tenant's database in every way.
async fn spoil(stack: &Stack, tenant: &str) -> Result<()> {
    let mut root = world::root(stack).await?;
    let spoil = format!(
        "USE `{}`; DELETE FROM odd WHERE id = 0; UPDATE odd SET body = CONCAT(body, '!'); INSERT INTO odd (body) VALUES ('new');
         DROP TABLE keyless; CREATE TABLE IF NOT EXISTS stranger (id INT); INSERT INTO stranger VALUES (1);
         UPDATE learn_progress_records SET block_position = block_position + 1",
        database(tenant)
    );
    root.execute(sqlx::raw_sql(&spoil)).await?;
    Ok(())
}

async fn definitions(connection: &mut MySqlConnection, tenant: &str) -> Result<Vec<String>> {
    let database = database(tenant);
    let tables: Vec<(String,)> = sqlx::query_as(
        "SELECT CONVERT(TABLE_NAME USING utf8mb4) FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? ORDER BY 1",
    )
    .bind(&database)
    .fetch_all(&mut *connection)
    .await?;
    let mut definitions = Vec::new();
    for (table,) in tables {
        let show = format!("SHOW CREATE TABLE `{database}`.`{table}`");
        let (_, definition): (String, String) = sqlx::query_as(&show).fetch_one(&mut *connection).await?;
        // MySQL repeats the character set of a column's definition even if it is that of the table.
        definitions.push(definition.replace(" CHARACTER SET utf8mb4 COLLATE", " COLLATE"));
    }
    Ok(definitions)
}

/// The databases of a tenant: the one in use, and any that a restore may leave.
async fn databases(connection: &mut MySqlConnection, tenant: &str) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT CONVERT(SCHEMA_NAME USING utf8mb4) FROM information_schema.SCHEMATA
         WHERE LEFT(SCHEMA_NAME, CHAR_LENGTH(?)) = ? ORDER BY 1",
    )
    .bind(database(tenant))
    .bind(database(tenant))
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|(name,)| name).collect())
}
