//! What an administrator may have made in a tenant's database, and what a careless copy loses: each case comes back
//! exactly, over a backup, a restore, an export and a move, or a backup refuses it by name.

use super::{REFUSED, database, run, with_store};
use crate::world::{self, SOON};
use anyhow::{Context, Result, bail, ensure};
use harness::process::Process;
use harness::servers::{Server, mysql};
use harness::stack::{Role, Stack};
use harness::wait;
use serde_json::json;
use sqlx::{Connection, Executor, MySqlConnection, Row};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

/// Which servers have a case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    Both,
    MariaDb,
    MySql,
}

impl On {
    fn here(self) -> bool {
        self == Self::Both || (self == Self::MySql) == mysql::selected().is_some()
    }
}

/// Cases that come back: a tenant's id, and the statements that plant them.
const COMES_BACK: [(&str, On, &[&str]); 13] = [
    (
        "names",
        On::Both,
        &[
            "CREATE TABLE orders__rebuild (id INT PRIMARY KEY, b TEXT); INSERT INTO orders__rebuild VALUES (1, 'a'), (2, 'b')",
            "CREATE TABLE _restoring (id INT PRIMARY KEY); INSERT INTO _restoring VALUES (1), (2), (3)",
            "CREATE TABLE _objects (number INT, object TEXT); INSERT INTO _objects VALUES (0, ''), (1, 'x')",
            "CREATE VIEW upon AS SELECT * FROM _objects",
        ],
    ),
    (
        "charsets",
        On::Both,
        &[
            "CREATE TABLE foreign_text (id INT PRIMARY KEY, g VARCHAR(20) CHARACTER SET gbk, c TEXT CHARACTER SET cp932,
                 l VARCHAR(20) CHARACTER SET latin2, u VARCHAR(20) CHARACTER SET ucs2, e ENUM('男','女') CHARACTER SET gbk)",
            "INSERT INTO foreign_text VALUES (1, X'A2E3', X'8790', X'80', X'0041', '男'), (2, X'A6D9', X'81E0', X'A5', X'20AC', '女'),
                 (3, X'C4D0', X'FA4A', '', NULL, NULL), (4, '', X'8754', 'x', '', NULL)",
            "CREATE TABLE foreign_keyless (c VARCHAR(20) CHARACTER SET cp932); INSERT INTO foreign_keyless VALUES (X'8790'), (X'81E0')",
        ],
    ),
    (
        "timestamps",
        On::Both,
        &[
            "SET SESSION explicit_defaults_for_timestamp = 1; SET SESSION sql_mode = ''",
            "CREATE TABLE bare (id INT PRIMARY KEY, a TIMESTAMP NOT NULL, b TIMESTAMP NOT NULL, c TIMESTAMP NULL)",
            "INSERT INTO bare VALUES (1, '2001-02-03 04:05:06', '2001-02-03 04:05:07', NULL)",
            "SET SESSION explicit_defaults_for_timestamp = 0",
            "CREATE TABLE old (id INT PRIMARY KEY, a TIMESTAMP, b TIMESTAMP); INSERT INTO old VALUES (1, '2001-02-03 04:05:06', 0)",
        ],
    ),
    (
        "floats",
        On::Both,
        &[
            "CREATE TABLE zeros (id INT PRIMARY KEY, d DOUBLE, f FLOAT, fixed FLOAT(7,2), wide DOUBLE)",
            "INSERT INTO zeros VALUES (1, '-0', '-0', '-0', -1e-330), (2, 0, 0, 0, 0), (3, -0.1, 16777217, -1.25, 1.7976931348623157e308)",
        ],
    ),
    (
        "generated",
        On::MariaDb,
        &[
            "SET SESSION sql_mode = ''",
            "CREATE TABLE computed (id INT PRIMARY KEY, a INT, b TINYINT AS (a * 100) STORED, c INT AS (1 / a) VIRTUAL,
                 d VARCHAR(3) AS (CONCAT(id, 'abcdef')) STORED)",
            "INSERT INTO computed (id, a) VALUES (1, 5), (2, 0), (3, NULL)",
            "CREATE TABLE only_computed (a INT AS (5) VIRTUAL, b INT AS (a + 1) STORED)",
            "INSERT INTO only_computed VALUES (), (), ()",
        ],
    ),
    (
        "lenient",
        On::Both,
        &[
            "SET SESSION innodb_strict_mode = 0",
            "CREATE TABLE odd_options (id INT PRIMARY KEY, b TEXT) ROW_FORMAT=DYNAMIC KEY_BLOCK_SIZE=4; INSERT INTO odd_options VALUES (1, 'x')",
            "CREATE TABLE wide_row (a1 VARCHAR(1000), a2 VARCHAR(1000), a3 VARCHAR(1000), a4 VARCHAR(1000), a5 VARCHAR(1000), a6 VARCHAR(1000),
                 a7 VARCHAR(1000), a8 VARCHAR(1000), a9 VARCHAR(1000), a10 VARCHAR(1000), a11 VARCHAR(1000), a12 VARCHAR(1000))
                 CHARSET utf8mb4 ROW_FORMAT=REDUNDANT",
            "INSERT INTO wide_row (a1, a12) VALUES ('x', 'y')",
        ],
    ),
    (
        "remarks",
        On::Both,
        &[
            "CREATE FUNCTION remarked() RETURNS INT DETERMINISTIC BEGIN -- was in ai_shifu_tenant_elsewhere once
                 /* ai_shifu_tenant_other.t */ # ai_shifu_tenant_third
                 RETURN 1; END",
        ],
    ),
    (
        "engines",
        On::Both,
        &[
            "CREATE TABLE old_engine (id INT PRIMARY KEY AUTO_INCREMENT, b TEXT) ENGINE=MyISAM; INSERT INTO old_engine (b) VALUES ('a'), ('b')",
            "CREATE TABLE in_memory (id INT) ENGINE=MEMORY; INSERT INTO in_memory VALUES (1), (1)",
        ],
    ),
    (
        "checks",
        On::MariaDb,
        &[
            "SET SESSION check_constraint_checks = 0",
            "CREATE TABLE checked (id INT PRIMARY KEY, v INT CHECK (v > 0)); INSERT INTO checked VALUES (1, -1), (2, 1)",
            "CREATE TABLE aria (id INT, b VARCHAR(10)) ENGINE=Aria; INSERT INTO aria VALUES (1, 'x')",
        ],
    ),
    (
        "unharmed",
        On::Both,
        &[
            "SET SESSION foreign_key_checks = 0",
            "CREATE TABLE ring_a (id INT PRIMARY KEY, b INT, FOREIGN KEY (b) REFERENCES ring_b (id))",
            "CREATE TABLE ring_b (id INT PRIMARY KEY, a INT, FOREIGN KEY (a) REFERENCES ring_a (id))",
            "INSERT INTO ring_a VALUES (1, 1), (2, 9); INSERT INTO ring_b VALUES (1, 1)",
            "CREATE TABLE places (id INT PRIMARY KEY, p GEOMETRY NOT NULL)",
            "INSERT INTO places VALUES (1, ST_GeomFromText('POINT(1 2)', 4326)), (2, ST_GeomFromText('LINESTRING(0 0,1 1)'))",
            "CREATE TABLE zero_ids (id INT PRIMARY KEY AUTO_INCREMENT); SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
            "INSERT INTO zero_ids VALUES (0), (-1), (5)",
        ],
    ),
    (
        "identifiers",
        On::Both,
        &[
            "CREATE TABLE `two\nlines;\n-- x` (`a\nb` INT PRIMARY KEY, `it's \"q\" ``b``` TEXT COMMENT 'two\nlines; it''s', `c\r\nd` INT DEFAULT 5,
                 KEY `k\n1` (`c\r\nd`)) COMMENT 'a\n-- b'",
            "INSERT INTO `two\nlines;\n-- x` VALUES (1, 'x\ny', 2), (2, ';\n-- z', 3)",
            "CREATE VIEW `v\nw` AS SELECT `a\nb` FROM `two\nlines;\n-- x`",
            "CREATE TABLE `-- object` (`-- statement` INT, `学` INT); INSERT INTO `-- object` VALUES (1, 2)",
        ],
    ),
    (
        "keys",
        On::MySql,
        &[
            "CREATE TABLE functional (id INT PRIMARY KEY, a INT, UNIQUE KEY f ((a + 1)), KEY g ((ABS(a))))",
            "INSERT INTO functional VALUES (1, 1), (2, 2)",
            "SET SESSION sql_generate_invisible_primary_key = 1",
            "CREATE TABLE hidden_key (b INT); INSERT INTO hidden_key VALUES (1), (1)",
            "SET SESSION sql_generate_invisible_primary_key = 0",
            "CREATE TABLE no_key (b INT); INSERT INTO no_key VALUES (1), (1)",
        ],
    ),
    // A move refuses events, so this one is the last.
    (
        "events",
        On::Both,
        &[
            "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)",
            "CREATE EVENT ends ON SCHEDULE EVERY 1 HOUR ENDS CURRENT_TIMESTAMP + INTERVAL 3 SECOND DO DELETE FROM t",
            "CREATE EVENT once ON SCHEDULE AT CURRENT_TIMESTAMP + INTERVAL 3 SECOND DO DELETE FROM t",
            "CREATE EVENT `stays ON COMPLETION` ON SCHEDULE EVERY 1 HOUR ENDS CURRENT_TIMESTAMP + INTERVAL 3 SECOND
                 ON COMPLETION PRESERVE DO DELETE FROM t",
        ],
    ),
];

/// Cases that a backup and a move refuse: the statements that plant them, what removes them, and the names that the
/// error gives.
const REFUSED_BY_NAME: [(On, &str, &str, &[&str]); 7] = [
    (
        On::Both,
        "CREATE TABLE outward (id INT PRIMARY KEY, o INT, FOREIGN KEY (o) REFERENCES ai_shifu_tenant_default.nothing (id))",
        "DROP TABLE outward",
        &["outward", "ai_shifu_tenant_default"],
    ),
    (On::MariaDb, "CREATE TABLE _ownership (id INT)", "DROP TABLE _ownership", &["_ownership"]),
    (
        On::Both,
        "CREATE FUNCTION nosy() RETURNS INT DETERMINISTIC RETURN (SELECT 1 FROM ai_shifu_tenant_default.tenant_config LIMIT 1)",
        "DROP FUNCTION nosy",
        &["nosy", "ai_shifu_tenant_default"],
    ),
    (
        On::Both,
        "CREATE TABLE m1 (id INT) ENGINE=MyISAM; CREATE TABLE merged (id INT) ENGINE=MERGE UNION=(m1)",
        "DROP TABLE merged, m1",
        &["merged", "MRG_MyISAM"],
    ),
    (
        On::MariaDb,
        "CREATE TABLE unsayable (id INT, e ENUM(X'A2E3') CHARACTER SET gbk)",
        "DROP TABLE unsayable",
        &["unsayable", "e", "gbk"],
    ),
    (On::MariaDb, "CREATE SEQUENCE next_one", "DROP SEQUENCE next_one", &["next_one"]),
    (
        On::MySql,
        "CREATE TABLE documents (id INT PRIMARY KEY, j JSON); INSERT INTO documents VALUES (1, '{}'), (7, JSON_OBJECT('a', CAST('2020-01-01' AS DATE)))",
        "DROP TABLE documents",
        &["documents", "j"],
    ),
];

/// Global values that the session of no copy may depend on.
const HOSTILE: &[&str] = &[
    "autocommit = 0",
    "completion_type = 1",
    "sql_select_limit = 1",
    "sql_safe_updates = 1",
    "sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,NO_ZERO_DATE,PAD_CHAR_TO_FULL_LENGTH,STRICT_ALL_TABLES'",
    "time_zone = '-07:00'",
    "sql_quote_show_create = 0",
    "unique_checks = 0",
    "max_join_size = 1",
    "character_set_results = 'latin1'",
    "character_set_client = 'latin1'",
    "div_precision_increment = 0",
    "foreign_key_checks = 1",
];

const HOSTILE_MARIADB: &[&str] = &[
    "tx_read_only = 1",
    "max_statement_time = 0.5",
    "explicit_defaults_for_timestamp = 0",
    "idle_transaction_timeout = 1",
    "idle_readonly_transaction_timeout = 1",
    "idle_write_transaction_timeout = 1",
    "sql_if_exists = 1",
    "alter_algorithm = 'INSTANT'",
    "innodb_strict_mode = 1",
];

const HOSTILE_MYSQL: &[&str] = &["transaction_read_only = 1", "max_execution_time = 500"];

/// The tables, views and routines of a database: definitions, and rows as bytes.
async fn described(connection: &mut MySqlConnection, database: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let session = format!("SET SESSION time_zone = '+00:00', sql_mode = ''; SET NAMES utf8mb4; USE `{database}`");
    connection.execute(sqlx::raw_sql(&session)).await?;
    let query = format!(
        "SELECT CONVERT(TABLE_NAME USING utf8mb4), CONVERT(COLUMN_NAME USING utf8mb4)
         FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = '{database}' ORDER BY TABLE_NAME, ORDINAL_POSITION"
    );
    let mut columns: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in connection.fetch_all(sqlx::raw_sql(&query)).await? {
        columns.entry(row.try_get_unchecked(0)?).or_default().push(row.try_get_unchecked(1)?);
    }
    let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
    let mut all = BTreeMap::new();
    for (table, columns) in columns.into_iter().filter(|(table, _)| table != "_ownership") {
        let show = format!("SHOW CREATE TABLE {}", quoted(&table));
        let definition: String = connection.fetch_one(sqlx::raw_sql(&show)).await?.try_get_unchecked(1)?;
        // A view names its definer and its database.
        let definition = definition.replace(&format!("`{database}`."), "");
        let definition = match (definition.find("DEFINER="), definition.find("SQL SECURITY")) {
            (Some(from), Some(to)) if !definition.starts_with("CREATE TABLE") => {
                format!("{}{}", &definition[..from], &definition[to..])
            }
            _ => definition,
        };
        let values: Vec<String> =
            columns.iter().map(|name| format!("IFNULL(HEX(CAST({} AS BINARY)), 'NULL')", quoted(name))).collect();
        let query = format!("SELECT CONCAT_WS('|', {}) FROM {}", values.join(", "), quoted(&table));
        let rows = connection.fetch_all(sqlx::raw_sql(&query)).await.with_context(|| query.clone())?;
        let mut lines = rows.iter().map(|row| row.try_get_unchecked::<String, _>(0)).collect::<Result<Vec<_>, _>>()?;
        lines.sort();
        lines.insert(0, definition);
        all.insert(table, lines);
    }
    let query = format!(
        "SELECT CONVERT(ROUTINE_NAME USING utf8mb4), CONVERT(ROUTINE_DEFINITION USING utf8mb4)
         FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = '{database}'"
    );
    for row in connection.fetch_all(sqlx::raw_sql(&query)).await? {
        all.insert(format!("routine {}", row.try_get_unchecked::<String, _>(0)?), vec![row.try_get_unchecked(1)?]);
    }
    Ok(all)
}

fn equal(before: &BTreeMap<String, Vec<String>>, after: &BTreeMap<String, Vec<String>>, when: &str) -> Result<()> {
    for name in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        let (was, is) = (before.get(name), after.get(name));
        ensure!(was == is, "{when}: {name:?} was\n{was:#?}\nand is\n{is:#?}");
    }
    Ok(())
}

/// Plants a case in a new tenant's database and describes the database.
async fn plant(stack: &Stack, tenant: &str, statements: &[&str]) -> Result<BTreeMap<String, Vec<String>>> {
    stack.admin().create_active_tenant(tenant, None, SOON).await?;
    let mut root = world::root(stack).await?;
    root.execute(sqlx::raw_sql(&format!("SET NAMES utf8mb4; USE `{}`", database(tenant)))).await?;
    for statement in statements {
        root.execute(sqlx::raw_sql(statement)).await.with_context(|| (*statement).to_owned())?;
    }
    described(&mut world::root(stack).await?, &database(tenant)).await
}

/// Takes a backup, removes all planted tables and restores.
async fn back_up_and_restore(stack: &Stack, root: &mut MySqlConnection, tenant: &str) -> Result<()> {
    run(stack, &["backup", tenant], &[]).await?.expect(0)?;
    if tenant == "events" {
        tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    }
    let spoil = format!(
        "SET SESSION autocommit = 1, sql_safe_updates = 0; SET SESSION TRANSACTION READ WRITE; USE `{}`;
         DELETE FROM tenant_config; CREATE TABLE stranger (id INT)",
        database(tenant)
    );
    root.execute(sqlx::raw_sql(&spoil)).await?;
    run(stack, &["restore", tenant], &[]).await?.expect(0)?;
    let state = stack.admin().tenant(tenant).await?.state;
    ensure!(state == "active", "the tenant is {state}");
    Ok(())
}

/// Loads an export with the command-line client of the server.
async fn export_and_load(stack: &Stack, root: &mut MySqlConnection, tenant: &str) -> Result<String> {
    let args = ["backup", "export", tenant];
    let exported = stack.output(Role::Provisioner, &args, &Vec::new()).await?;
    ensure!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let into = format!("exported_{tenant}");
    root.execute(sqlx::raw_sql(&format!("CREATE DATABASE {into} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")))
        .await?;
    let url = url::Url::parse(&stack.urls.root)?;
    let mut client = Command::new("mariadb")
        .args([
            "--no-defaults",
            "--protocol=tcp",
            "--binary-mode",
            "--comments",
            "--default-character-set=utf8mb4",
            "-h",
            "127.0.0.1",
        ])
        .args(["-u", url.username(), "-P", &url.port().unwrap_or(3306).to_string(), &into])
        .env("MYSQL_PWD", url.password().unwrap_or_default())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    client.stdin.take().context("a pipe")?.write_all(&exported.stdout)?;
    let output = client.wait_with_output()?;
    ensure!(output.status.success(), "the client: {}", String::from_utf8_lossy(&output.stderr));
    Ok(into)
}

async fn come_back(
    stack: &Stack,
    tenant: &str,
    before: &BTreeMap<String, Vec<String>>,
    hostile: &mut MySqlConnection,
) -> Result<()> {
    let mut root = world::root(stack).await?;
    back_up_and_restore(stack, &mut root, tenant).await?;
    equal(before, &described(&mut root, &database(tenant)).await?, "restored")?;
    if mysql::selected().is_none() {
        let into = export_and_load(stack, &mut root, tenant).await?;
        equal(before, &described(&mut root, &into).await?, "exported")?;
    }
    if tenant == "events" {
        return Ok(());
    }
    let admin = stack.admin();
    let asked = admin.post(&format!("/admin/tenants/{tenant}/database/move"), json!({"server": "eu2"})).await?;
    let ended = admin.wait_for_end(asked.operation_id()?, SOON).await?;
    ensure!(ended.status == "succeeded", "the move ended with {:?}", ended.error);
    equal(before, &described(hostile, &database(tenant)).await?, "moved")?;
    back_up_and_restore(stack, hostile, tenant).await?;
    equal(before, &described(hostile, &database(tenant)).await?, "restored on a hostile server")
}

#[tokio::test]
async fn every_planted_object_comes_back_exactly() -> Result<()> {
    let stack = Stack::start(with_store(world::with_second_server("backup-planted")?)?).await?;
    world::both_servers(&stack).await?;
    world::place_on_main(&stack).await?;
    let mut planted = BTreeMap::new();
    for (tenant, _, statements) in COMES_BACK.iter().filter(|(_, on, _)| on.here()) {
        planted.insert(*tenant, plant(&stack, tenant, statements).await.with_context(|| (*tenant).to_owned())?);
    }
    let mut there = MySqlConnection::connect(&stack.more_servers["eu2"].url()).await?;
    let particular = if mysql::selected().is_some() { HOSTILE_MYSQL } else { HOSTILE_MARIADB };
    for setting in HOSTILE.iter().chain(particular) {
        there.execute(sqlx::raw_sql(&format!("SET GLOBAL {setting}"))).await.with_context(|| (*setting).to_owned())?;
    }
    let mut failed = Vec::new();
    for (tenant, ..) in COMES_BACK.iter().filter(|(_, on, _)| on.here()) {
        if let Err(error) = come_back(&stack, tenant, &planted[tenant], &mut there).await {
            failed.push(format!("{tenant}: {error:#}"));
        }
    }
    ensure!(failed.is_empty(), "{} cases do not come back:\n{}", failed.len(), failed.join("\n\n"));
    Ok(())
}

#[tokio::test]
async fn what_cannot_come_back_is_refused_by_name() -> Result<()> {
    let stack = Stack::start(with_store(world::with_second_server("backup-unfit")?)?).await?;
    world::both_servers(&stack).await?;
    world::place_on_main(&stack).await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", None, SOON).await?;
    let mut root = world::root(&stack).await?;
    root.execute(sqlx::raw_sql(&format!(
        "SET NAMES utf8mb4; SET SESSION foreign_key_checks = 0; USE `{}`",
        database("acme")
    )))
    .await?;
    let mut failed = Vec::new();
    for (_, planted, removed, names) in REFUSED_BY_NAME.iter().filter(|(on, ..)| on.here()) {
        root.execute(sqlx::raw_sql(planted)).await.with_context(|| (*planted).to_owned())?;
        let refused = async {
            let refused = run(&stack, &["backup", "acme"], &[]).await?.expect(REFUSED)?;
            for name in *names {
                ensure!(refused.errors.contains(name), "the backup does not name {name}: {}", refused.errors);
            }
            let asked = admin.post("/admin/tenants/acme/database/move", json!({"server": "eu2"})).await?;
            let ended = admin.wait_for_end(asked.operation_id()?, SOON).await?;
            let Some(reason) = ended.error.filter(|_| ended.status == "failed") else { bail!("it was moved") };
            for name in *names {
                ensure!(reason.contains(name), "the move does not name {name}: {reason}");
            }
            Ok(())
        };
        if let Err(error) = refused.await {
            failed.push(format!("{planted}: {error:#}"));
        }
        root.execute(sqlx::raw_sql(removed)).await?;
    }
    ensure!(failed.is_empty(), "{} cases are not refused:\n{}", failed.len(), failed.join("\n\n"));

    // No snapshot shows a table of this engine as it was at one moment, so no client writes to it while it is dumped.
    root.execute("CREATE TABLE old_engine (id INT PRIMARY KEY) ENGINE=MyISAM; SET SESSION lock_wait_timeout = 1")
        .await?;
    let (held, points) = world::held_at("backup.table")?;
    let env = vec![("FAILPOINTS".to_owned(), points)];
    let mut backup = Process::start(stack.command(Role::Provisioner, "backup-held", &["backup", "acme"], &env)?)?;
    wait::until_ok(SOON, "the table to be locked", async || {
        let written = root.execute("INSERT INTO old_engine SELECT COUNT(*) + 1 FROM old_engine o").await;
        ensure!(written.is_err(), "it was written");
        Ok(())
    })
    .await?;
    drop(held);
    let ended = backup.ended(SOON).await.context("the backup does not end")?;
    ensure!(ended.success(), "{ended:?}");
    run(&stack, &["restore", "acme"], &[]).await?.expect(0)?;
    Ok(())
}
