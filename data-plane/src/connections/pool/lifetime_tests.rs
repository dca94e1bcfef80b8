//! A connection's life: use, abort, loss, retirement, expiry, and servers that fail.

use super::fake::{ABORTING, WAIT, get, number, pool, settle};
use super::*;
use crate::routing::route_for_tests;
use std::sync::atomic::Ordering;

#[tokio::test(start_paused = true)]
async fn a_connection_is_reused_by_its_own_tenant_only() {
    let (pool, counts) = pool(10, 3);
    let (t1, t2) = (route_for_tests("t1"), route_for_tests("t2"));
    let first = number(&mut get(&pool, &t1).await.unwrap());
    assert_eq!(number(&mut get(&pool, &t1).await.unwrap()), first);
    assert_ne!(number(&mut get(&pool, &t2).await.unwrap()), first);
    assert_eq!(counts.made.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_connection_keeps_its_slot_until_aborted() {
    let (pool, counts) = pool(1, 1);
    let mut connection = get(&pool, &route_for_tests("t1")).await.unwrap();
    let first = connection.begin().number;
    drop(connection);
    assert_eq!((pool.counts(), counts.open.load(Ordering::SeqCst)), ((1, 0), 1));
    let began = Instant::now();
    assert_ne!(number(&mut get(&pool, &route_for_tests("t1")).await.unwrap()), first);
    assert!(began.elapsed() >= ABORTING && counts.most.load(Ordering::SeqCst) == 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_gives_its_slot_back_at_once() {
    let (pool, counts) = pool(2, 2);
    let mut connection = get(&pool, &route_for_tests("t1")).await.unwrap();
    let first = connection.begin().number;
    connection.lost();
    drop(connection);
    assert_eq!((pool.counts(), counts.open.load(Ordering::SeqCst)), ((0, 0), 0));
    assert_ne!(number(&mut get(&pool, &route_for_tests("t1")).await.unwrap()), first);
}

#[tokio::test(start_paused = true)]
async fn a_new_generation_closes_idle_and_used_connections() {
    let (pool, counts) = pool(4, 4);
    let old = Route { generation: 1, ..route_for_tests("t1") };
    let new = Route { generation: 2, ..old.clone() };
    let used = get(&pool, &old).await.unwrap();
    drop(get(&pool, &old).await.unwrap());
    pool.retire(&old.tenant_id, 2);
    settle().await;
    assert_eq!(pool.counts(), (1, 0), "the idle one is closed");
    drop(used);
    settle().await;
    assert_eq!(pool.counts(), (0, 0), "the used one is closed when it comes back");
    // A request that still has the old route gets a connection, but it is closed afterwards.
    drop(get(&pool, &old).await.unwrap());
    settle().await;
    assert_eq!(pool.counts(), (0, 0));
    drop(get(&pool, &new).await.unwrap());
    assert_eq!(pool.counts(), (1, 1));
    assert_eq!(counts.made.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_connection_replaces_an_idle_one() {
    let (pool, counts) = pool(1, 1);
    let route = route_for_tests("t1");
    let first = number(&mut get(&pool, &route).await.unwrap());
    let mut fresh = pool.acquire(&route, true, Instant::now() + WAIT).await.unwrap();
    assert_ne!(number(&mut fresh), first);
    assert_eq!(counts.most.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn connections_idle_beyond_the_limit_are_closed() {
    let (pool, counts) = pool(4, 4);
    drop(get(&pool, &route_for_tests("t1")).await.unwrap());
    sleep(Duration::from_secs(40)).await;
    drop(get(&pool, &route_for_tests("t2")).await.unwrap());
    pool.sweep(Duration::from_secs(30));
    settle().await;
    assert_eq!((pool.counts(), counts.open.load(Ordering::SeqCst)), ((1, 1), 1));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_gets_few_attempts() {
    let (pool, counts) = pool(4, 4);
    counts.down.store(true, Ordering::SeqCst);
    let mut tasks = Vec::new();
    for at in 0..50 {
        let pool = pool.clone();
        tasks.push(tokio::spawn(async move {
            let route = route_for_tests(&format!("t-{}", at % 10));
            get(&pool, &route).await.map(drop)
        }));
    }
    let began = Instant::now();
    for task in tasks {
        assert!(task.await.unwrap().is_err());
    }
    assert!(began.elapsed() <= WAIT + Duration::from_millis(100), "{:?}", began.elapsed());
    assert!(counts.made.load(Ordering::SeqCst) < 20, "no storm: {:?}", counts.made);
    settle().await;
    assert_eq!(pool.counts(), (0, 0));
    counts.down.store(false, Ordering::SeqCst);
    assert!(get(&pool, &route_for_tests("t-1")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_leaves_slots_for_another() {
    let (pool, counts) = pool(10, 2);
    counts.hangs.store(true, Ordering::SeqCst);
    let mut tasks = Vec::new();
    for at in 0..40 {
        let pool = pool.clone();
        tasks.push(tokio::spawn(async move {
            let route = route_for_tests(&format!("t-{at}"));
            get(&pool, &route).await.map(drop)
        }));
    }
    // After one timeout the server counts as failing, and at most one attempt holds a slot.
    sleep(OPEN_TIMEOUT + Duration::from_millis(20)).await;
    assert!(pool.counts().0 <= 1, "{:?}", pool.counts());
    counts.hangs.store(false, Ordering::SeqCst);
    let mut elsewhere = route_for_tests("other");
    elsewhere.database.host = "db2".into();
    assert!(get(&pool, &elsewhere).await.is_ok());
    for task in tasks {
        let _ = task.await.unwrap();
    }
}
