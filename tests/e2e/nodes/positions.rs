//! Positions are dense and in commit order, whatever the writers do.

use crate::world;
use anyhow::{Result, ensure};
use harness::stack::Stack;
use kernel::domain::{Command, Position, TenantId};
use kernel::store::Store;
use secrecy::SecretString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const WRITERS: usize = 16;
const APPENDS: usize = 40;

/// 16 writers append to the store. One in ten rolls back, and one in four is slow to commit. Three readers follow with
/// a cursor each, as nodes do. No reader may ever see a gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn positions_are_dense_and_no_reader_skips_one() -> Result<()> {
    let mut options = world::without_nodes("positions")?;
    (options.control_planes, options.provisioners) = (0, 0);
    let stack = Stack::start_servers(options).await?;
    let store = Store::new(kernel::database::pool(&SecretString::from(stack.urls.system.control.clone()), 24)?);
    let writing = Arc::new(AtomicBool::new(true));
    let readers: Vec<_> = (0..3).map(|_| tokio::spawn(follow(store.clone(), Arc::clone(&writing)))).collect();
    let writers = (0..WRITERS).map(|writer| tokio::spawn(write(store.clone(), writer)));
    let mut committed = 0;
    for writer in futures::future::join_all(writers).await {
        committed += writer??;
    }
    writing.store(false, Ordering::SeqCst);
    let head = store.heads().await?.events;
    assert_eq!(head.0 as usize, committed, "every committed append has a position, and no other");
    for reader in readers {
        assert_eq!(reader.await??, head, "a reader saw every position");
    }
    Ok(())
}

async fn write(store: Store, writer: usize) -> Result<usize> {
    let id: TenantId = format!("writer-{writer}").parse()?;
    let mut committed = 0;
    for number in 0..APPENDS {
        let command = if committed == 0 {
            Command::Create {
                tenant_name: "W".into(),
                domain: None,
                plan_type: "basic".into(),
                server: "main".into(),
                max_connections: 1,
            }
        } else {
            Command::Rename { tenant_name: format!("W {number}") }
        };
        let mut unit = store.begin().await?;
        let events = if committed == 0 { 1 } else { usize::from(number != 0) };
        unit.execute(&id, "test", command).await?;
        let dice = (writer * 31 + number * 17) % 20;
        if dice.is_multiple_of(4) {
            // The head is locked meanwhile, so all others wait and none skips a position.
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        if dice < 2 {
            unit.rollback().await?;
        } else {
            unit.commit().await?;
            committed += events;
        }
    }
    Ok(committed)
}

/// Reads as a node does: the events after the cursor, whose last position is the next cursor.
async fn follow(store: Store, writing: Arc<AtomicBool>) -> Result<Position> {
    let mut cursor = Position(0);
    loop {
        let last_round = !writing.load(Ordering::SeqCst);
        let batch = store.events_after(cursor, 50).await?;
        for event in &batch {
            ensure!(event.position == cursor.0 + 1, "after {cursor} came {}", event.position);
            cursor = Position(event.position);
        }
        if batch.is_empty() && last_round {
            return Ok(cursor);
        }
    }
}
