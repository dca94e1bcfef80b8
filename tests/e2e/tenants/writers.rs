//! Many writers of one tenant: none is refused because of another one, unless it names the version that it has seen.

use crate::invariants;
use crate::world::{self, SOON};
use anyhow::{Context, Result, ensure};
use futures::future::Either;
use harness::clients::{Admin, NewUser, Reply};
use harness::stack::Stack;
use serde_json::{Value, json};

const WRITERS: usize = 16;
const MEMBERS: usize = 20;

/// Inserts users into the system database: a call of the API for each would take most of the test's time.
pub async fn make_users(stack: &Stack, ids: &[String]) -> Result<()> {
    let mut insert = sqlx::QueryBuilder::new("INSERT INTO user_info (user_id, username) ");
    insert.push_values(ids, |mut row, id| {
        row.push_bind(id).push_bind(id);
    });
    insert.build().execute(&mut world::system(stack).await?).await?;
    Ok(())
}

async fn put(admin: &Admin, user: &str, role: &str, version: Option<&str>) -> Result<Reply> {
    let headers: Vec<_> = version.map(|version| ("If-Match", version)).into_iter().collect();
    admin.request("PUT", &format!("/admin/tenants/acme/users/{user}"), Some(json!({"role": role})), &headers).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_one_tenant_wait_for_each_other() -> Result<()> {
    let stack = Stack::start(world::without_nodes("writers")?).await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", None, SOON).await?;
    let ids: Vec<String> = (0..WRITERS * MEMBERS).map(|n| format!("u{n:04}")).collect();
    make_users(&stack, &ids).await?;
    let before = admin.tenant("acme").await?.version;
    let writers = ids.chunks(MEMBERS).map(|chunk| {
        let admin = &admin;
        async move {
            for user in chunk {
                let reply = put(admin, user, "user", None).await?;
                ensure!(reply.status == 200, "{user}: {} {}", reply.status, reply.text);
            }
            Ok(())
        }
    });
    futures::future::try_join_all(writers).await?;
    let version = admin.tenant("acme").await?.version;
    assert_eq!(version - before, ids.len() as u64);

    // Of callers that name the version which they have seen, one is as fast as it thinks.
    let seen = admin.request("GET", "/admin/tenants/acme", None, &[]).await?;
    let tag = seen.header("etag").context("a version")?.to_owned();
    assert_eq!(tag, format!("\"{version}\""));
    let racing = ids.iter().skip(8).take(8).map(|user| put(&admin, user, "viewer", Some(&tag)));
    let replies = futures::future::try_join_all(racing).await?;
    let mut statuses: Vec<_> = replies.iter().map(|reply| reply.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![200], vec![412; 7]].concat());
    let refused = replies.iter().find(|reply| reply.status == 412).context("a refusal")?;
    assert_eq!((refused.error(), &refused.json["version"]), ("precondition_failed", &json!(version + 1)));
    let bare = (version + 1).to_string();
    for (named, status, code) in [("soon", 422, "invalid_if_match"), ("W/\"1\"", 412, "precondition_failed")] {
        let reply = put(&admin, &ids[0], "admin", Some(named)).await?;
        assert_eq!((reply.status, reply.error()), (status, code), "{named}");
    }
    assert_eq!(put(&admin, &ids[0], "admin", Some(&bare)).await?.status, 200, "a version without quotes");
    assert_eq!(put(&admin, &ids[1], "admin", Some("*")).await?.status, 200);
    // A request that changes no tenant has no version, so it never has the one that is named.
    let user = NewUser { username: "ann", name: "", email: "", mobile: "" };
    let ann = admin.create_user(user).await?;
    let body = json!({"name": "Ann"});
    let reply = admin.request("PATCH", &format!("/admin/users/{ann}"), Some(body), &[("If-Match", "\"1\"")]).await?;
    assert_eq!(reply.error(), "precondition_failed");
    // A repeated request gets its answer, although the first one has changed the version.
    let tag = format!("\"{}\"", admin.tenant("acme").await?.version);
    for _ in 0..2 {
        let headers = [("If-Match", tag.as_str()), ("Idempotency-Key", "once")];
        let body = Some(json!({"domain": "once.example.com"}));
        let reply = admin.request("POST", "/admin/tenants/acme/domains", body, &headers).await?;
        assert_eq!(reply.status, 201, "{}", reply.text);
    }
    many_at_once(&admin, &ids, &ann).await?;
    // The wait for another writer has an end, and the caller learns when to try again.
    let mut other = world::system(&stack).await?;
    let mut other = sqlx::Connection::begin(&mut other).await?;
    sqlx::query("SELECT version FROM saas_tenant_snapshots WHERE tenant_id = 'acme' FOR UPDATE")
        .execute(&mut *other)
        .await?;
    let reply = put(&admin, &ids[0], "viewer", None).await?;
    assert_eq!((reply.status, reply.error()), (503, "unavailable"), "{}", reply.text);
    assert!(reply.header("retry-after").is_some());
    // More writers wait than there are connections. Other tenants do not wait for them, and neither do readers.
    let waiting = ids.iter().take(24).map(|user| Box::pin(put(&admin, user, "viewer", None)));
    let waiting = futures::future::select_all(waiting.collect::<Vec<_>>());
    let others = Box::pin(async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let body = json!({"tenant_name": "Default"});
        let changed = admin.request("PATCH", "/admin/tenants/default", Some(body), &[]).await?;
        let read = admin.request("GET", "/admin/tenants/default", None, &[]).await?;
        anyhow::Ok((changed.status, read.status))
    });
    match futures::future::select(waiting, others).await {
        Either::Right((statuses, _)) => assert_eq!(statuses?, (200, 200)),
        Either::Left(((reply, ..), _)) => panic!("a writer of acme was answered first: {}", reply?.text),
    }
    other.rollback().await?;
    assert_eq!(put(&admin, &ids[0], "viewer", None).await?.status, 200);
    invariants::check(&stack).await
}

/// A thousand members in one request are one unit, and each has its own answer.
async fn many_at_once(admin: &Admin, ids: &[String], ann: &str) -> Result<()> {
    let bulk = async |users: Value| {
        admin.request("PUT", "/admin/tenants/acme/users", Some(json!({"users": users})), &[]).await
    };
    let before = admin.tenant("acme").await?.version;
    let rows = [
        json!({"user_id": ann, "role": "admin", "permissions": {"courses": ["a"]}}),
        json!({"user_id": ids[2], "role": "user"}),
        json!({"user_id": "nobody", "role": "user"}),
        json!({"user_id": ids[3], "role": "king"}),
        json!({"user_id": ids[4], "role": "user", "permissions": []}),
        json!({"user_id": ann, "role": "user"}),
        json!({"user_id": "a b", "role": "user"}),
        json!({"user_id": ann.to_uppercase(), "role": "user"}),
        json!({"user_id": ids[5], "role": "viewer"}),
    ];
    let reply = bulk(json!(rows)).await?;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let answers = reply.json["users"].as_array().context("rows")?;
    let found: Vec<_> = answers
        .iter()
        .map(|row| (row["status"].as_u64(), row["changed"].as_bool(), row["error"].as_str().unwrap_or_default()))
        .collect();
    let row = |status, changed, error| (Some(status), Some(changed), error);
    assert_eq!(
        found,
        [
            row(200, true, ""),
            row(200, false, ""),
            row(404, false, "user_not_found"),
            row(422, false, "invalid_role"),
            row(422, false, "invalid_permissions"),
            row(422, false, "invalid_user_id"),
            row(422, false, "invalid_user_id"),
            row(404, false, "user_not_found"),
            row(200, true, ""),
        ]
    );
    assert_eq!((&answers[3]["field"], &answers[0]["user_id"]), (&json!("role"), &json!(ann)));
    assert_eq!(admin.tenant("acme").await?.version - before, 2);
    let members: Value = admin.get("/admin/tenants/acme/users?role=admin&limit=500").await?;
    let made = members["users"].as_array().into_iter().flatten().find(|user| user["user_id"] == json!(ann));
    assert_eq!(made.context("Ann is an admin")?["permissions"], json!({"courses": ["a"]}));

    let every: Vec<_> = (0..1000).map(|n| json!({"user_id": format!("{n:032}"), "role": "viewer"})).collect();
    let reply = bulk(json!(every)).await?;
    assert_eq!(reply.json["users"].as_array().map(Vec::len), Some(1000), "{}", reply.text);
    let too_many = [&every[..], &every[..1]].concat();
    for users in [json!([]), json!(too_many)] {
        let reply = bulk(users).await?;
        assert_eq!((reply.status, reply.error()), (422, "invalid_users"), "{}", reply.text);
    }
    let reply = admin.request("PUT", "/admin/tenants/nothing/users", Some(json!({"users": rows})), &[]).await?;
    assert_eq!((reply.status, reply.error()), (404, "tenant_not_found"));
    let wide = json!({"user_id": ann, "role": "user", "permissions": {"a": "x".repeat(300_000)}});
    assert_eq!(bulk(json!([wide])).await?.status, 413);
    Ok(())
}
