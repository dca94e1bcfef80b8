//! Rows to count, and a recount by queries that share nothing with the services.

use crate::world;
use anyhow::{Context, Result, ensure};
use chrono::{Days, NaiveDate};
use harness::servers::mysql;
use harness::stack::Stack;
use sqlx::MySqlConnection;

/// Inserts orders and study records of some users over some fifty days, in every status, with deleted rows and rows at
/// the edges of days, and an access log.
pub async fn plant(stack: &Stack, tenant: &str, rows: u64, today: NaiveDate) -> Result<()> {
    let mut root = world::root(stack).await?;
    let mut state = rows;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut insert = async |table: &str, columns: &str, values: Vec<String>| -> Result<()> {
        let sql = format!("INSERT INTO {table} ({columns}) VALUES {}", values.join(", "));
        sqlx::raw_sql(&sql).execute(&mut root).await.with_context(|| format!("plant {table}"))?;
        Ok(())
    };
    let (mut orders, mut studies, mut log) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..rows {
        let mut time = || {
            let clock = ["00:00:00", "23:59:59", "12:34:56"][next(3) as usize];
            format!("{} {clock}", today - Days::new(next(50)))
        };
        let (order, study, seen) = (time(), time(), time());
        let (price, status, deleted) = (next(100_000), 501 + next(5), u64::from(next(10) == 0));
        let user = next(rows / 4 + 1);
        orders.push(format!("('o{n}', 'u{user}', {}.{:02}, {status}, {deleted}, '{order}')", price / 100, price % 100));
        studies.push(format!("('p{n}', 'u{}', {}, '{study}')", next(9), u64::from(next(7) == 0)));
        log.push(format!(
            "('{tenant}', {}, '{seen}')",
            if next(5) == 0 { "NULL".into() } else { format!("'u{user}'") }
        ));
    }
    let database = format!("ai_shifu_tenant_{tenant}");
    insert(&format!("{database}.order_orders"), "order_bid, user_id, paid_price, status, deleted, created_at", orders)
        .await?;
    insert(
        &format!("{database}.learn_progress_records"),
        "progress_record_bid, user_bid, deleted, created_at",
        studies,
    )
    .await?;
    insert("ai_shifu_system.saas_access_logs", "tenant_id, user_id, created_at", log).await
}

/// Ten figures, each by a query of its own: users, active users, orders, paid orders, revenue, study records, and the
/// orders, paid orders, revenue and study records of the day.
pub async fn recount(root: &mut MySqlConnection, tenant: &str, day: NaiveDate) -> Result<Vec<String>> {
    let (orders, studies) = (
        format!("FROM ai_shifu_tenant_{tenant}.order_orders WHERE deleted = 0 AND DATE(created_at)"),
        format!("FROM ai_shifu_tenant_{tenant}.learn_progress_records WHERE deleted = 0 AND DATE(created_at)"),
    );
    let mut figures = Vec::new();
    for query in [
        format!("COUNT(DISTINCT user_id) {orders} <= '{day}'"),
        format!(
            "COUNT(DISTINCT user_id) FROM ai_shifu_system.saas_access_logs
             WHERE tenant_id = '{tenant}' AND DATE(created_at) = '{day}'"
        ),
        format!("COUNT(*) {orders} <= '{day}'"),
        format!("COUNT(*) {orders} <= '{day}' AND status = 502"),
        format!("CAST(COALESCE(SUM(paid_price), 0.00) AS DECIMAL(14,2)) {orders} <= '{day}' AND status = 502"),
        format!("COUNT(*) {studies} <= '{day}'"),
        format!("COUNT(*) {orders} = '{day}'"),
        format!("COUNT(*) {orders} = '{day}' AND status = 502"),
        format!("CAST(COALESCE(SUM(paid_price), 0.00) AS DECIMAL(14,2)) {orders} = '{day}' AND status = 502"),
        format!("COUNT(*) {studies} = '{day}'"),
    ] {
        let figure: String =
            sqlx::query_scalar(&format!("SELECT CAST((SELECT {query}) AS CHAR)")).fetch_one(&mut *root).await?;
        figures.push(figure);
    }
    Ok(figures)
}

/// The stored statistics, in the system database and in the tenant's own, equal a recount.
pub async fn check(stack: &Stack, tenant: &str, day: NaiveDate) -> Result<()> {
    let mut root = world::root(stack).await?;
    let counted = recount(&mut root, tenant, day).await?;
    let stored: Vec<(String,)> = sqlx::query_as(
        "SELECT CONCAT_WS(' ', total_users, active_users, total_orders, paid_orders, total_revenue, total_study_records,
                daily_orders, daily_paid_orders, daily_revenue, daily_study_records)
         FROM saas_tenant_daily_statistics WHERE tenant_id = ? AND stat_date = ?",
    )
    .bind(tenant)
    .bind(day)
    .fetch_all(&mut world::system(stack).await?)
    .await?;
    ensure!(
        stored.len() == 1 && stored[0].0 == counted.join(" "),
        "{tenant} {day}: stored {stored:?}, counted {counted:?}"
    );
    let own: Vec<(String,)> = sqlx::query_as(&format!(
        "SELECT CONCAT_WS(' ', total_users, active_users, total_orders, total_revenue, total_study_records)
         FROM ai_shifu_tenant_{tenant}.tenant_statistics WHERE stat_date = ?"
    ))
    .bind(day)
    .fetch_all(&mut root)
    .await?;
    let counted = [0, 1, 2, 4, 5].map(|at| counted[at].as_str()).join(" ");
    ensure!(own.len() == 1 && own[0].0 == counted, "{tenant} {day}: its own {own:?}, counted {counted}");
    Ok(())
}

/// Creates tenants of three tables, with the rows and ownership markers that provisioning would leave.
pub async fn make_cheaply(root: &mut MySqlConnection, tenants: usize) -> Result<()> {
    let on_mysql = mysql::selected().is_some();
    let mark = if on_mysql {
        "SELECT CONVERT(TABLE_COMMENT USING utf8mb4) FROM information_schema.TABLES
         WHERE TABLE_NAME = '_ownership' AND TABLE_SCHEMA = 'ai_shifu_tenant_default'"
    } else {
        "SELECT SCHEMA_COMMENT FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'ai_shifu_tenant_default'"
    };
    let mark: String = sqlx::query_scalar(mark).fetch_one(&mut *root).await?;
    for n in 0..tenants {
        let (id, database) = (format!("t{n:04}"), format!("ai_shifu_tenant_t{n:04}"));
        let mark = mark.replace("tenant=default;", &format!("tenant={id};"));
        let (of_database, of_table) = if on_mysql {
            (String::new(), format!("CREATE TABLE {database}._ownership (id INT) COMMENT '{mark}';"))
        } else {
            (format!("COMMENT '{mark}'"), String::new())
        };
        let tables = ["order_orders", "learn_progress_records", "tenant_statistics"]
            .map(|table| format!("CREATE TABLE {database}.{table} LIKE ai_shifu_tenant_default.{table};"));
        let sql = format!(
            "CREATE DATABASE {database} {of_database}; {of_table} {}
             INSERT INTO {database}.order_orders (order_bid, user_id, paid_price, status) VALUES ('a', 'u', 1.50, 502), ('b', 'u', 2, 501);
             INSERT INTO ai_shifu_system.saas_tenant_snapshots
                     (tenant_id, created_position, position, version, status, plan_type, server_id, snapshot)
                 SELECT '{id}', created_position + {n} + 1000, position, version, status, plan_type, server_id, snapshot
                 FROM ai_shifu_system.saas_tenant_snapshots WHERE tenant_id = 'default'",
            tables.concat()
        );
        sqlx::raw_sql(&sql).execute(&mut *root).await?;
    }
    Ok(())
}
