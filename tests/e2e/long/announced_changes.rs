//! How much changes of others cost: the statements of a node at the system database per request, while 2,000 sessions
//! are in use, without changes and with 10 revocations and 10 changed profiles a second.

use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use harness::clients::{Admin, TenantApi};
use harness::load::{Answered, Load};
use harness::servers::mysql;
use kernel::crypto::tokens::{new_session_token, session_key};
use kernel::domain::{Command, Role};
use kernel::store::Store;
use secrecy::ExposeSecret;
use serde_json::json;
use sqlx::{MySqlConnection, MySqlPool, QueryBuilder};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Sessions in use, each of a user of its own.
const SESSIONS: usize = 2000;
const TENANTS: usize = 4;
/// Revocations in a second, and changed profiles in a second.
const CHANGES: u32 = 10;
/// One measurement.
const MEASURED: Duration = Duration::from_secs(20);
const ROUNDS: usize = 3;
/// Twice what is promised, because the machine is busy.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);

struct User {
    user_id: String,
    host: String,
    token: String,
}

#[tokio::test]
#[ignore = "long: measures for two minutes"]
async fn changes_of_others_cost_a_request_no_statements() -> Result<()> {
    let stack = world::start("announced-changes").await?;
    let admin = stack.admin();
    let mut root = world::root(&stack).await?;
    if mysql::selected().is_none() {
        sqlx::query("SET GLOBAL userstat = ON").execute(&mut root).await?;
    }
    let victims = SESSIONS..SESSIONS + 2 * ROUNDS * MEASURED.as_secs() as usize * CHANGES as usize;
    let users = Arc::new(make(&stack, victims.end).await?);
    let api = stack.tenant_api(0);
    // Every session is in the memory of the node, as after a minute of use.
    for round in users.chunks(50) {
        let asking = round.iter().map(|user| asks(&api, user, "/api/orders"));
        let statuses = futures::future::try_join_all(asking).await?;
        ensure!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    }
    let mut victims = users[victims].iter();
    let (mut ratios, mut slowest) = (Vec::new(), Duration::ZERO);
    for round in 0..ROUNDS {
        let quiet = measure(&mut root, &api, &users, tokio::time::sleep(MEASURED)).await?;
        let mut system = world::system(&stack).await?;
        let changing = change(&admin, &api, &users, &mut victims, &mut system, &mut slowest);
        let mut outcome = Ok(());
        let changed = measure(&mut root, &api, &users, async { outcome = changing.await }).await?;
        outcome?;
        println!(
            "round {round}: {:.5} statements per request without changes ({} requests), {:.5} with ({} requests)",
            quiet.0, quiet.1, changed.0, changed.1
        );
        ratios.push(changed.0 / quiet.0);
    }
    ratios.sort_by(f64::total_cmp);
    println!("ratio {:.3} ({:.3} to {:.3})", ratios[ROUNDS / 2], ratios[0], ratios[ROUNDS - 1]);
    println!("slowest revocation: {slowest:?}");
    ensure!(slowest < REFUSED_WITHIN, "a revoked session was served for {slowest:?}");
    ensure!(ratios[ROUNDS / 2] < 1.05, "changes of others cost statements: {ratios:?}");
    Ok(())
}

/// Makes users with one session each, who are members of the tenants in turn.
async fn make(stack: &harness::stack::Stack, count: usize) -> Result<Vec<User>> {
    let admin = stack.admin();
    let pool = MySqlPool::connect(&stack.urls.system.migrator).await?;
    let store = Store::new(pool.clone());
    let users: Vec<_> = (0..count)
        .map(|n| User {
            user_id: format!("u{n}"),
            host: world::host(&format!("t{}", n % TENANTS)),
            token: new_session_token().expose_secret().to_owned(),
        })
        .collect();
    for chunk in users.chunks(500) {
        let mut insert = QueryBuilder::new("INSERT INTO user_info (user_id, username, name, email, mobile) ");
        insert.push_values(chunk, |mut row, user| {
            row.push_bind(&user.user_id).push_bind(&user.user_id).push_bind(&user.user_id).push("''").push("''");
        });
        insert.build().execute(&pool).await?;
        let mut insert =
            QueryBuilder::new("INSERT INTO user_token (user_id, token, token_type, token_expired_at, token_ttl) ");
        insert.push_values(chunk, |mut row, user| {
            row.push_bind(&user.user_id).push_bind(session_key(&user.token));
            row.push("1").push("UTC_TIMESTAMP() + INTERVAL 7 DAY").push("604800");
        });
        insert.build().execute(&pool).await?;
    }
    for tenant in 0..TENANTS {
        let id = format!("t{tenant}");
        admin.create_active_tenant(&id, None, SOON).await?;
        let joined = users.iter().skip(tenant).step_by(TENANTS).map(|user| {
            let user_id = user.user_id.parse().expect("a user id");
            Command::ChangeMember { user_id, role: Role::User, permissions: None }
        });
        let mut unit = store.begin().await?;
        unit.execute_all(&id.parse()?, "test", joined).await?;
        unit.commit().await?;
    }
    let last = users.last().context("users")?;
    world::served(&stack.tenant_api(0), &last.host, &last.token).await?;
    Ok(users)
}

async fn asks(api: &TenantApi, user: &User, path: &str) -> Result<u16> {
    Ok(api.get(&user.host, &user.token, path).await?.status)
}

/// The statements of the node per request, and the requests, while `meanwhile` runs.
async fn measure(
    root: &mut MySqlConnection,
    api: &TenantApi,
    users: &Arc<Vec<User>>,
    meanwhile: impl Future<Output = ()>,
) -> Result<(f64, u64)> {
    let mut load = Load::new();
    for client in 0..8 {
        let (api, users) = (api.clone(), Arc::clone(users));
        load.client(move |turn: u64| {
            let (api, users) = (api.clone(), Arc::clone(&users));
            async move {
                let user = &users[(client + 8 * turn as usize) % SESSIONS];
                // Each session asks for its orders and for its profile in turn.
                let path = if (turn as usize / (SESSIONS / 8)).is_multiple_of(2) {
                    "/api/orders".to_owned()
                } else {
                    format!("/api/users/{}", user.user_id)
                };
                let status = asks(&api, user, &path).await?;
                ensure!(status == 200, "{path} of {} was answered {status}", user.user_id);
                Ok(Answered::Served)
            }
        });
    }
    // Profiles are read for the first time in the first round of all sessions.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let before = (statements(root).await?, load.answers());
    meanwhile.await;
    let (after, answers) = (statements(root).await? - before.0, load.answers() - before.1);
    load.check()?;
    load.end().await?;
    Ok((after as f64 / answers as f64, answers))
}

/// Revokes sessions and changes profiles at an even rate, and checks that each session is refused in time.
async fn change(
    admin: &Admin,
    api: &TenantApi,
    users: &[User],
    victims: &mut std::slice::Iter<'_, User>,
    system: &mut MySqlConnection,
    slowest: &mut Duration,
) -> Result<()> {
    let mut tick = tokio::time::interval(Duration::from_secs(1) / CHANGES);
    let began = Instant::now();
    let mut refusals = tokio::task::JoinSet::new();
    for n in 0.. {
        tick.tick().await;
        if began.elapsed() >= MEASURED {
            break;
        }
        let user = &users[n * 7 % SESSIONS];
        let path = format!("/admin/users/{}", user.user_id);
        let changed = admin.request("PATCH", &path, Some(json!({"name": format!("Name {n}")})), &[]).await?;
        ensure!(changed.status == 200, "{}", changed.text);
        let victim = victims.next().context("a session to revoke")?;
        let id: i64 = sqlx::query_scalar("SELECT id FROM user_token WHERE token = ?")
            .bind(session_key(&victim.token))
            .fetch_one(&mut *system)
            .await?;
        let path = format!("/admin/users/{}/tokens/{id}", victim.user_id);
        let revoked = admin.request("DELETE", &path, None, &[]).await?;
        ensure!(revoked.status == 204, "{}", revoked.text);
        let (since, api) = (Instant::now(), api.clone());
        let (host, token) = (victim.host.clone(), victim.token.clone());
        refusals.spawn(async move {
            while api.get(&host, &token, "/api/orders").await?.status == 200 && since.elapsed() < REFUSED_WITHIN {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok::<_, anyhow::Error>(since.elapsed())
        });
    }
    while let Some(refused) = refusals.join_next().await {
        *slowest = (*slowest).max(refused??);
    }
    Ok(())
}

/// The statements of the node's account so far.
async fn statements(root: &mut MySqlConnection) -> Result<i64> {
    let query = if mysql::selected().is_some() {
        "SELECT CAST(SUM(COUNT_STAR) AS SIGNED)
         FROM performance_schema.events_statements_summary_by_user_by_event_name
         WHERE USER = 'node' AND EVENT_NAME LIKE 'statement/sql/%'"
    } else {
        "SELECT CAST(SELECT_COMMANDS + UPDATE_COMMANDS + OTHER_COMMANDS AS SIGNED)
         FROM information_schema.USER_STATISTICS WHERE USER = 'node'"
    };
    world::number(root, query).await
}
