//! Views, routines, triggers and events come back unchanged and work for the tenant's own account. Triggers do not
//! fire for loaded rows. A restore that fails puts the objects in use back in their place.

use super::{REFUSED, assert_equal, database, killed_at, odd_tenant, options, run, sums};
use crate::invariants;
use crate::world::{self, SOON};
use anyhow::{Result, ensure};
use harness::stack::Stack;
use sqlx::{ConnectOptions, Executor, MySqlConnection, Row};

/// One object of each kind, with what a careless copy changes: modes, quotes, line ends, character sets, the order of
/// triggers, names of other objects.
const OBJECTS: [&str; 15] = [
    "CREATE TABLE seen (number INT AUTO_INCREMENT PRIMARY KEY, what TEXT) CHARSET utf8mb4",
    "CREATE FUNCTION twice(a INT) RETURNS INT DETERMINISTIC RETURN a * 2",
    "CREATE VIEW z_base AS SELECT id, CONCAT(body, 'ä😀') AS text, twice(id) AS two FROM odd",
    "CREATE VIEW a_upon AS SELECT text FROM z_base WHERE two < 20",
    "CREATE SQL SECURITY INVOKER VIEW counted AS SELECT COUNT(*) AS n FROM a_upon",
    "CREATE TABLE passing (id INT)",
    "CREATE VIEW broken AS SELECT id FROM passing",
    "SET SESSION sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT', collation_connection = 'latin1_swedish_ci'",
    "CREATE PROCEDURE \"say it\"(INOUT what VARCHAR(20) CHARACTER SET latin1)\nBEGIN -- a remark; with a ' in it\n  /* and\n another */ SET what = what || 'ä;\n' || \"what\";\nEND",
    "CREATE TRIGGER odd_first BEFORE INSERT ON odd FOR EACH ROW SET NEW.body = NEW.body || '1'",
    "CREATE TRIGGER odd_again BEFORE INSERT ON odd FOR EACH ROW SET NEW.body = NEW.body || '2'",
    "SET SESSION sql_mode = DEFAULT, collation_connection = 'utf8mb4_unicode_ci', time_zone = '+03:00'",
    "CREATE TRIGGER odd_told AFTER INSERT ON odd FOR EACH ROW INSERT INTO seen (what) VALUES (NEW.body)",
    "CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01 03:00:00' DO DELETE FROM seen WHERE number < 0",
    "DROP TABLE passing",
];

/// The descriptions that the server gives of all objects, without their definers.
async fn described(connection: &mut MySqlConnection, database: &str) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for (query, columns) in [
        (
            "SELECT TABLE_NAME, VIEW_DEFINITION, CHECK_OPTION, SECURITY_TYPE, COLLATION_CONNECTION
             FROM information_schema.VIEWS WHERE TABLE_SCHEMA = ? ORDER BY 1",
            5,
        ),
        (
            "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, CONCAT(ACTION_ORDER, ' '), ACTION_TIMING, EVENT_MANIPULATION,
                    ACTION_STATEMENT, SQL_MODE, COLLATION_CONNECTION, DATABASE_COLLATION
             FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = ? ORDER BY 1",
            9,
        ),
        (
            "SELECT ROUTINE_NAME, ROUTINE_TYPE, ROUTINE_DEFINITION, SQL_MODE, COLLATION_CONNECTION, DATABASE_COLLATION,
                    SECURITY_TYPE
             FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = ? ORDER BY 1",
            7,
        ),
        (
            "SELECT EVENT_NAME, EVENT_DEFINITION, TIME_ZONE, CONCAT(STARTS, ''), STATUS, SQL_MODE
             FROM information_schema.EVENTS WHERE EVENT_SCHEMA = ? ORDER BY 1",
            6,
        ),
    ] {
        for row in sqlx::query(query).bind(database).fetch_all(&mut *connection).await? {
            let texts: Result<Vec<Option<String>>, _> = (0..columns).map(|at| row.try_get_unchecked(at)).collect();
            // MySQL stores the semicolon after one of several statements.
            let texts = texts?.into_iter().map(|text| text.map(|text| text.trim_end_matches(';').to_owned()));
            let line = format!("{:?}", texts.collect::<Vec<_>>());
            if !line.contains("broken") {
                all.push(line.replace(database, "DATABASE"));
            }
        }
    }
    Ok(all)
}

/// The account that makes them. On MySQL, only root can drop what root has made.
async fn maker(stack: &Stack) -> Result<MySqlConnection> {
    match harness::servers::mysql::selected() {
        Some(_) => Ok(stack.urls.system.tenant_admin.parse::<sqlx::mysql::MySqlConnectOptions>()?.connect().await?),
        None => world::root(stack).await,
    }
}

/// Makes the objects in a tenant's database, as its administrator would.
async fn make(stack: &Stack, tenant: &str) -> Result<()> {
    let mut root = maker(stack).await?;
    root.execute(sqlx::raw_sql(&format!("USE `{}`", database(tenant)))).await?;
    for statement in OBJECTS {
        root.execute(sqlx::raw_sql(statement)).await?;
    }
    Ok(())
}

/// Checks that the tenant's own account can read the views and that its rows fire the triggers.
async fn works(stack: &Stack, tenant: &str, when: &str) -> Result<()> {
    let mut own = world::login(stack, tenant).await?.connect().await?;
    let (n,): (i64,) = sqlx::query_as("SELECT n FROM counted").fetch_one(&mut own).await?;
    ensure!(n > 0, "{when}: the views show nothing");
    let mut transaction = sqlx::Connection::begin(&mut own).await?;
    transaction.execute("INSERT INTO odd (id, body) VALUES (999, 'new')").await?;
    let (body, logged): (String, String) = sqlx::query_as(
        "SELECT (SELECT body FROM odd WHERE id = 999), (SELECT what FROM seen ORDER BY number DESC LIMIT 1)",
    )
    .fetch_one(&mut *transaction)
    .await?;
    ensure!(body == "new12" && logged == "new12", "{when}: the triggers made {body} and {logged}");
    Ok(transaction.rollback().await?)
}

#[tokio::test]
async fn a_restore_brings_back_working_stored_objects() -> Result<()> {
    let mut stack = Stack::start(options("backup-objects")?).await?;
    odd_tenant(&stack, "acme", 500).await?;
    make(&stack, "acme").await?;
    let mut root = world::root(&stack).await?;
    works(&stack, "acme", "before").await?;
    let (before, rows) = (described(&mut root, &database("acme")).await?, sums(&stack.urls.root, "acme").await?);
    ensure!(before.len() == 9, "{before:#?}");
    let taken = run(&stack, &["backup", "acme", "--json"], &[]).await?.expect(0)?;
    ensure!(taken.errors.contains("not in the backup: view broken"), "{}", taken.errors);
    ensure!(taken.json["objects"].as_array().is_some_and(|all| all.len() == 9), "{}", taken.json);

    // The database has other objects when the restore begins.
    let other = "DROP VIEW a_upon; DROP TRIGGER odd_first; DROP PROCEDURE `say it`; DROP EVENT nightly; DROP VIEW counted;
        DELETE FROM odd WHERE id = 0; CREATE TRIGGER later AFTER DELETE ON odd FOR EACH ROW INSERT INTO seen (what) VALUES ('gone');
        CREATE VIEW later AS SELECT 1 AS one; ALTER VIEW z_base AS SELECT 2 AS two";
    let mut maker = maker(&stack).await?;
    maker.execute(sqlx::raw_sql(&format!("USE `{}`; {other}", database("acme")))).await?;
    let spoilt = (described(&mut root, &database("acme")).await?, sums(&stack.urls.root, "acme").await?);
    stack.provisioners[0].stop().await?;
    let failing = [("FAILPOINTS", "restore.swap_database=error")];
    run(&stack, &["restore", "acme"], &failing).await?.expect(1)?;
    ensure!(
        described(&mut root, &database("acme")).await? == spoilt.0,
        "the objects that were in use are not in place again"
    );
    assert_equal(&spoilt.1, &sums(&stack.urls.root, "acme").await?, "after a restore that failed")?;
    // A kill leaves them removed, and the undo of the next attempt puts them back.
    killed_at(&stack, &["restore", "acme"], "restore.before_rename").await?;
    run(&stack, &["restore", "acme"], &[("FAILPOINTS", "restore.load_backup=error")]).await?.expect(1)?;
    ensure!(described(&mut root, &database("acme")).await? == spoilt.0, "after the kill, objects in use are missing");

    for point in ["restore.after_rename", "restore.objects"] {
        killed_at(&stack, &["restore", "acme"], point).await?;
        run(&stack, &["restore", "acme"], &[]).await?.expect(0)?;
        let after = described(&mut root, &database("acme")).await?;
        ensure!(after == before, "{point}: {before:#?}\n{after:#?}");
        assert_equal(&rows, &sums(&stack.urls.root, "acme").await?, point)?;
        works(&stack, "acme", point).await?;
        root.execute(sqlx::raw_sql(&format!("USE `{}`; DROP VIEW a_upon; DROP TRIGGER odd_told", database("acme"))))
            .await?;
    }
    run(&stack, &["restore", "acme", "--as", "copy"], &[]).await?.expect(0)?;
    let copied = described(&mut root, &database("copy")).await?;
    ensure!(copied == before, "{copied:#?}");
    works(&stack, "copy", "as a new tenant").await?;

    // A copied view that names another tenant's database would read from it, so the backup is refused.
    run(&stack, &["restore", "acme"], &[]).await?.expect(0)?;
    let crossing = "CREATE VIEW crossing AS SELECT COUNT(*) FROM ai_shifu_tenant_copy.odd";
    maker.execute(sqlx::raw_sql(&format!("USE `{}`; {crossing}", database("acme")))).await?;
    let refused = run(&stack, &["backup", "acme"], &[]).await?.expect(REFUSED)?;
    ensure!(refused.errors.contains("view crossing names the database ai_shifu_tenant_copy"), "{}", refused.errors);
    works(&stack, "acme", "after a backup that was refused").await?;

    // A backup refuses an object that it cannot save.
    if harness::servers::mysql::selected().is_none() {
        root.execute(sqlx::raw_sql(&format!(
            "USE `{}`; DROP VIEW crossing; CREATE SEQUENCE next_one",
            database("acme")
        )))
        .await?;
        let refused = run(&stack, &["backup", "acme"], &[]).await?.expect(REFUSED)?;
        ensure!(refused.errors.contains("next_one"), "{}", refused.errors);
        root.execute(sqlx::raw_sql(&format!("DROP SEQUENCE `{}`.next_one", database("acme")))).await?;
    }
    stack.provisioners[0].restart(&[]).await?;
    stack.admin().create_active_tenant("later", None, SOON).await?;
    invariants::check(&stack).await
}
