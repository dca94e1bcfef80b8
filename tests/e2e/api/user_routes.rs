//! What a tenant's users read about themselves and each other: every route, compared with rows that the test has
//! written.

use crate::world::{self, SOON};
use anyhow::Result;
use harness::stack::Stack;
use serde_json::{Value, json};
use sqlx::Executor;

const HOST: &str = "acme.example.com";
const NAME: &str = "Zoë 李 😀";

#[tokio::test]
async fn every_user_route_shows_what_the_database_holds() -> Result<()> {
    let stack = world::start("user-routes").await?;
    let admin = stack.admin();
    admin.create_active_tenant("acme", Some(HOST), SOON).await?;
    admin.create_active_tenant("other", Some("other.example.com"), SOON).await?;
    let (ann, token) = world::user(&admin, "ann", &[("acme", "user"), ("other", "viewer")]).await?;
    let (boss, boss_token) = world::user(&admin, "boss", &[("acme", "admin")]).await?;
    let (_, viewer) = world::user(&admin, "vic", &[("acme", "viewer")]).await?;
    let (stranger, stranger_token) = world::user(&admin, "eve", &[("other", "admin")]).await?;
    sqlx::query("UPDATE user_info SET name = ? WHERE user_id = ?")
        .bind(NAME)
        .bind(&ann)
        .execute(&mut world::system(&stack).await?)
        .await?;
    fill(&stack, &ann).await?;
    let api = stack.tenant_api(0);
    let get = async |token: &str, path: String| api.get(HOST, token, &path).await;
    harness::wait::until(SOON, "the node to serve", async || {
        get(&token, "/api/me".into()).await.ok().filter(|reply| reply.status == 200)
    })
    .await?;

    // Pages of orders, with statistics over all orders on every page.
    let first = get(&token, format!("/api/users/{ann}/orders?limit=2")).await?;
    assert_eq!(first.status, 200, "{}", first.text);
    assert_eq!(world::order_bids(&first), ["o5", "o4"]);
    assert_eq!((&first.json["tenant_id"], &first.json["role"]), (&json!("acme"), &json!("user")));
    assert_eq!(
        first.json["user"],
        json!({"user_id": ann, "username": "ann", "name": NAME, "email": "ann@example.com"})
    );
    let stats = json!({"total_orders": 5, "paid_orders": 3, "total_spent": "100000009.97",
                       "last_order_date": "2025-03-05T10:00:00Z"});
    assert_eq!(first.json["stats"], stats);
    assert_eq!(
        first.json["orders"][1],
        json!({"order_bid": "o4", "shifu_bid": "s1", "payable_price": "0.10", "paid_price": "0.07", "status": 502,
               "created_at": "2025-03-05T10:00:00Z", "updated_at": "2025-03-06T00:00:00Z"})
    );
    let (mut seen, mut path) = (Vec::new(), format!("/api/users/{ann}/orders?limit=2"));
    loop {
        let page = get(&viewer, path).await?;
        assert_eq!(page.json["stats"], stats);
        seen.extend(world::order_bids(&page));
        let Some(next) = page.json["next_cursor"].as_str() else { break };
        path = format!("/api/users/{ann}/orders?limit=2&cursor={next}");
    }
    assert_eq!(seen, ["o5", "o4", "o3", "o2", "o1"]);
    // If all orders are on one page, the statistics come from its rows and are the same.
    let whole = get(&viewer, format!("/api/users/{ann}/orders")).await?;
    assert_eq!((&whole.json["stats"], &whole.json["next_cursor"]), (&stats, &Value::Null));
    let exact = get(&viewer, format!("/api/users/{ann}/orders?limit=5")).await?;
    assert_eq!((world::order_bids(&exact), &exact.json), (seen, &whole.json));

    let shifus = get(&token, format!("/api/users/{ann}/shifus")).await?;
    assert_eq!(
        shifus.json,
        json!({"tenant_id": "acme", "user_id": ann, "next_cursor": null, "shifus": [
            {"shifu_bid": "s1", "title": "New 😀", "description": "d".repeat(500), "avatar_res_bid": "",
             "purchased_at": "2025-03-05T10:00:00Z", "progress": {"total": 2, "completed": 1}},
            {"shifu_bid": "s2", "title": "Two", "description": "", "avatar_res_bid": "",
             "purchased_at": "2025-01-01T00:00:00Z", "progress": {"total": 0, "completed": 0}},
        ]})
    );
    let activities = get(&token, format!("/api/users/{ann}/activities?limit=1")).await?;
    assert_eq!(
        activities.json["activities"],
        json!([{"active_id": "a1", "active_name": "Week", "active_desc": "x".repeat(20_000), "active_type": 1,
                "active_price": "99.00", "active_discount": "0.50", "status": 1,
                "joined_at": "2025-02-02T00:00:00Z"}])
    );
    let next = activities.json["next_cursor"].as_str().unwrap_or_default();
    let rest = get(&token, format!("/api/users/{ann}/activities?limit=1&cursor={next}")).await?;
    assert_eq!(
        (&rest.json["activities"][0]["joined_at"], &rest.json["next_cursor"]),
        (&json!("2025-02-01T00:00:00Z"), &Value::Null)
    );
    let coupons = get(&token, format!("/api/users/{ann}/coupons")).await?;
    assert_eq!(
        coupons.json["summary"],
        json!({"total_coupons": 12, "used_coupons": 4, "active_coupons": 4, "expired_coupons": 4,
               "total_savings": "0.40"})
    );
    let recent = coupons.json["recent_coupons"].as_array().cloned().unwrap_or_default();
    assert_eq!(recent.len(), 10);
    assert_eq!(
        recent[0],
        json!({"coupon_bid": "c12", "name": "N", "code": "CODE", "discount_type": 701, "value": "0.10", "status": 902,
               "created_at": "2025-01-12T00:00:00Z"})
    );

    // Profiles.
    let shown = get(&boss_token, format!("/api/users/{ann}")).await?;
    assert_eq!((&shown.json["user"]["name"], &shown.json["role"]), (&json!(NAME), &json!("user")));
    let me = get(&token, "/api/me".into()).await?;
    assert_eq!(me.json["user"], shown.json["user"]);
    let tenants: Vec<_> = me.json["tenants"].as_array().into_iter().flatten().collect();
    assert_eq!(tenants.len(), 2);
    assert_eq!(tenants[0], &json!({"tenant_id": "acme", "tenant_name": "acme", "tenant_domain": HOST, "role": "user"}));

    // The tenant's public configuration, and nothing else.
    let config = get(&token, "/api/config".into()).await?;
    assert_eq!(config.json["config"]["features.payment_enabled"], json!(true));
    assert_eq!(config.json["config"]["tenant.name"], json!("acme"));
    assert!(!config.text.contains("hunter2"), "{}", config.text);

    // Users see themselves only, and get the same refusal whether another user exists or not.
    for below in ["", "/orders", "/shifus", "/activities", "/coupons"] {
        for (token, user, status, code) in [
            (&token, boss.as_str(), 403, "admin_required"),
            (&token, "nobody", 403, "admin_required"),
            (&viewer, "nobody", 404, "user_not_found"),
            (&viewer, stranger.as_str(), 403, "user_not_in_tenant"),
            (&boss_token, ann.to_uppercase().as_str(), 404, "user_not_found"),
            (&stranger_token, ann.as_str(), 403, "user_not_in_tenant"),
            (&boss_token, "%E2%98%83", 422, "invalid_user_id"),
            (&boss_token, &"x".repeat(37), 422, "invalid_user_id"),
            (&String::new(), ann.as_str(), 401, "unauthenticated"),
        ] {
            let reply = get(token, format!("/api/users/{user}{below}")).await?;
            assert_eq!((reply.status, reply.error()), (status, code), "{user}{below}: {}", reply.text);
        }
        assert_eq!(get(&viewer, format!("/api/users/{ann}{below}")).await?.status, 200);
    }
    for (query, code) in [("limit=0", "invalid_limit"), ("limit=101", "invalid_limit"), ("cursor=x", "invalid_cursor")]
    {
        let reply = get(&token, format!("/api/users/{ann}/orders?{query}")).await?;
        assert_eq!((reply.status, reply.error()), (422, code));
    }

    // The other tenant of the same user is empty and shows nothing of the first.
    for below in ["orders", "shifus", "activities", "coupons"] {
        let reply = api.get("other.example.com", &token, &format!("/api/users/{ann}/{below}")).await?;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let list = if below == "coupons" { "recent_coupons" } else { below };
        assert_eq!(reply.json[list], json!([]), "{below}");
    }
    let empty = api.get("other.example.com", &token, &format!("/api/users/{ann}/orders")).await?;
    assert_eq!(
        empty.json["stats"],
        json!({"total_orders": 0, "paid_orders": 0, "total_spent": "0.00", "last_order_date": null})
    );

    // A database without these indexes gives the same answers.
    let paths = [format!("/api/users/{ann}/orders?limit=2"), "/api/orders?limit=2".to_owned()];
    let asked = async || -> Result<Vec<Value>> {
        let mut answers = Vec::new();
        for (token, path) in [(&token, &paths[0]), (&token, &paths[1]), (&viewer, &paths[0]), (&viewer, &paths[1])] {
            let reply = get(token, path.clone()).await?;
            assert_eq!(reply.status, 200, "{path}: {}", reply.text);
            answers.push(reply.json);
        }
        Ok(answers)
    };
    let before = asked().await?;
    world::root(&stack)
        .await?
        .execute("ALTER TABLE ai_shifu_tenant_acme.order_orders DROP INDEX idx_list, DROP INDEX idx_user_list")
        .await?;
    assert_eq!(asked().await?, before);

    // A user who has left is no longer visible once the node knows.
    let gone = admin.request("DELETE", &format!("/admin/tenants/acme/users/{ann}"), None, &[]).await?;
    assert_eq!(gone.status, 204);
    harness::wait::until(SOON, "the node to receive the change", async || {
        let reply = get(&boss_token, format!("/api/users/{ann}/orders")).await.ok()?;
        (reply.error() == "user_not_in_tenant").then_some(())
    })
    .await
}

/// Inserts rows of ann in `acme` with the oddities of old databases, and rows of a user whose id differs only in case.
async fn fill(stack: &Stack, ann: &str) -> Result<()> {
    let other = ann.to_uppercase();
    let mut rows = world::root(stack).await?;
    rows.execute("USE `ai_shifu_tenant_acme`; SET SESSION sql_mode = '', time_zone = '+00:00'").await?;
    let long = ("d".repeat(500), "x".repeat(20_000));
    let statements = [
        format!(
            "INSERT INTO order_orders (order_bid, shifu_bid, user_id, payable_price, paid_price, status, deleted,
                                       created_at, updated_at) VALUES
             ('o1', 's2', '{ann}', 9.90, 9.91, 502, 0, '2025-01-01', '2025-03-06'),
             ('o2', 's1', '{ann}', 99999999.99, 99999999.99, 502, 0, '2025-01-02', '2025-03-06'),
             ('o3', 's3', '{ann}', 5.00, 5.00, 503, 0, '2025-01-02', '2025-03-06'),
             ('o4', 's1', '{ann}', 0.10, 0.07, 502, 0, '2025-03-05 10:00:00', '2025-03-06'),
             ('o5', 's4', '{ann}', 0.10, 0.00, 501, 0, '2025-03-05 10:00:00', '0000-00-00'),
             ('gone', 's5', '{ann}', 1.00, 1.00, 502, 1, '2025-03-07', '2025-03-07'),
             ('canary', 's6', '{other}', 1.00, 1.00, 502, 0, '2025-03-08', '2025-03-08')"
        ),
        format!(
            "INSERT INTO shifu_published_shifus (shifu_bid, title, description, deleted) VALUES
             ('s1', 'Old', '', 0), ('s1', 'New 😀', '{}', 0), ('s1', 'Withdrawn', '', 1), ('s2', 'Two', '', 0),
             ('s3', 'Refunded', '', 0), ('s6', 'canary', '', 0)",
            long.0
        ),
        format!(
            "INSERT INTO learn_progress_records (shifu_bid, user_bid, status, deleted) VALUES
             ('s1', '{ann}', 603, 0), ('s1', '{ann}', 602, 0), ('s1', '{ann}', 603, 1), ('s1', '{other}', 603, 0)"
        ),
        format!(
            "INSERT INTO active (active_id, active_name, active_desc, active_type, active_price, active_discount)
             VALUES ('a1', 'Week', '{}', 1, 99.00, 0.50), ('a2', 'canary', '', 1, 1.00, 1.00)",
            long.1
        ),
        format!(
            "INSERT INTO active_user_record (active_id, user_id, status, created) VALUES
             ('a1', '{ann}', 0, '2025-02-01'), ('a1', '{ann}', 1, '2025-02-02'), ('a2', '{other}', 1, '2025-02-03')"
        ),
        "INSERT INTO tenant_config (config_key, config_value) VALUES ('payment.secret', 'hunter2')".into(),
    ];
    for statement in &statements {
        rows.execute(statement.as_str()).await?;
    }
    for n in 1..=12 {
        let status = [902, 903, 904][n % 3];
        let insert = format!(
            "INSERT INTO promo_coupon_usages (coupon_bid, name, user_bid, code, value, status, created_at)
             VALUES ('c{n}', 'N', '{ann}', 'CODE', 0.10, {status}, '2025-01-{n:02}')"
        );
        rows.execute(insert.as_str()).await?;
    }
    Ok(())
}
