//! [`Cache`]: rows of the system database in memory, until the follower learns that they have changed.
//!
//! **Guarantees.** A value that was read before a change is not used after [`Cache::forget`] has been called for that
//! change, even if the read ends later: a read counts only if nothing was forgotten of its key since it began. The
//! number of values is bounded, and so is the number of reads at the same time, by their gates.

use moka::sync;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Values by their keys.
pub struct Cache<K, V> {
    values: sync::Cache<K, Stored<V>>,
    /// Rises whenever everything is forgotten.
    epoch: AtomicU64,
    reads: Mutex<Reads<K>>,
}

#[derive(Clone)]
struct Stored<V> {
    value: V,
    epoch: u64,
}

/// The reads that are under way and may still be stored.
struct Reads<K> {
    next: u64,
    keys: HashMap<u64, K>,
}

/// A read that is under way. Dropping it without [`Read::store`] stores nothing.
pub struct Read<'c, K: Hash + Eq + Clone + Send + Sync + 'static, V: Clone + Send + Sync + 'static> {
    cache: &'c Cache<K, V>,
    number: u64,
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static, V: Clone + Send + Sync + 'static> Cache<K, V> {
    /// An empty cache for values of a total weight of `most`. Each value is used for `lifetime` at most.
    pub fn new(most: u64, lifetime: Duration, weigh: fn(&V) -> u32) -> Self {
        let values = sync::Cache::builder()
            .max_capacity(most)
            .time_to_live(lifetime)
            .weigher(move |_, stored: &Stored<V>| weigh(&stored.value));
        let reads = Mutex::new(Reads { next: 0, keys: HashMap::new() });
        Self { values: values.build(), epoch: AtomicU64::new(0), reads }
    }

    /// The value of a key, if it is known.
    pub fn get(&self, key: &K) -> Option<V> {
        let stored = self.values.get(key)?;
        // A value from before everything was forgotten may still be there for a moment.
        (stored.epoch == self.epoch.load(Ordering::Acquire)).then_some(stored.value)
    }

    /// Call this before the query that reads the value of a key.
    pub fn begin(&self, key: K) -> Read<'_, K, V> {
        let mut reads = self.reads();
        let number = reads.next;
        reads.next += 1;
        reads.keys.insert(number, key);
        Read { cache: self, number }
    }

    /// Forgets the value of a key, because it has changed.
    pub fn forget(&self, key: &K) {
        let mut reads = self.reads();
        reads.keys.retain(|_, being_read| being_read != key);
        self.values.invalidate(key);
    }

    /// Forgets all values.
    pub fn forget_all(&self) {
        let mut reads = self.reads();
        reads.keys.clear();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.values.invalidate_all();
    }

    fn reads(&self) -> MutexGuard<'_, Reads<K>> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static, V: Clone + Send + Sync + 'static> Read<'_, K, V> {
    /// Stores the value, unless its key was forgotten since the read began.
    pub fn store(self, value: V) {
        let mut reads = self.cache.reads();
        if let Some(key) = reads.keys.remove(&self.number) {
            // The lock is held, so nothing is forgotten in between.
            let epoch = self.cache.epoch.load(Ordering::Acquire);
            self.cache.values.insert(key, Stored { value, epoch });
        }
    }
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static, V: Clone + Send + Sync + 'static> Drop for Read<'_, K, V> {
    fn drop(&mut self) {
        self.cache.reads().keys.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> Cache<u8, &'static str> {
        Cache::new(100, Duration::from_secs(60), |_| 1)
    }

    #[test]
    fn one_forgotten_value_leaves_the_others() {
        let cache = cache();
        cache.begin(1).store("one");
        cache.begin(2).store("two");
        cache.forget(&1);
        assert_eq!((cache.get(&1), cache.get(&2)), (None, Some("two")));
        cache.begin(1).store("one again");
        assert_eq!(cache.get(&1), Some("one again"));
        cache.forget_all();
        assert_eq!((cache.get(&1), cache.get(&2)), (None, None));
    }

    #[test]
    fn a_read_that_began_before_a_change_is_not_stored() {
        let cache = cache();
        let (first, second, other) = (cache.begin(1), cache.begin(1), cache.begin(2));
        cache.forget(&1);
        let later = cache.begin(1);
        first.store("old");
        second.store("old");
        assert_eq!(cache.get(&1), None);
        later.store("new");
        other.store("two");
        assert_eq!((cache.get(&1), cache.get(&2)), (Some("new"), Some("two")));
        let before = cache.begin(3);
        cache.forget_all();
        before.store("old");
        assert_eq!(cache.get(&3), None);
        assert!(cache.reads().keys.is_empty());
    }

    #[test]
    fn a_read_that_fails_leaves_nothing_behind() {
        let cache = cache();
        drop(cache.begin(1));
        assert!(cache.reads().keys.is_empty());
    }
}
