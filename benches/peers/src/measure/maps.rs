//! `--maps`: which concurrent map finds a breaker fastest. Lookups of keys that are there, as nearly all are.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::hint::black_box;
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use http::HeaderValue;
use http::uri::Authority;

use crate::measure::Together;
use crate::measure::alloc::Heap;

const KEYS: [usize; 2] = [1_000, 100_000];
const LOOKUPS: usize = 20_000;
const ROUNDS: usize = 15;
const ROUNDS_IN_BRIEF: usize = 3;

/// In place of a breaker: what is found is shared, and lets itself be touched.
type Found = Arc<u64>;
type Fold = foldhash::fast::RandomState;

trait Map<K>: Sync {
    fn insert(&self, key: K, value: Found);
    fn find(&self, key: &K) -> Option<Found>;
}

trait Key: Hash + Eq + Clone + Send + Sync + 'static {
    const NAME: &'static str;
    fn number(number: usize) -> Self;
}

/// Prints a table: nanoseconds a lookup, least and median of the rounds, and bytes an entry.
pub(crate) fn compare(brief: bool) {
    let rounds = if brief { ROUNDS_IN_BRIEF } else { ROUNDS };
    println!(
        "A lookup that finds, clones and drops an Arc; ns, the least of {rounds} rounds (median), and bytes an entry"
    );
    println!("beside the key's text and what the Arc points to.");
    compare_keys::<HeaderValue>(rounds);
    compare_keys::<Authority>(rounds);
}

fn compare_keys<K: Key>(rounds: usize) {
    println!(
        "\n{:<34}{:>16}{:>16}{:>16}{:>16}{:>7}",
        K::NAME,
        "1k, 1 thread",
        "2 threads",
        "100k, 1 thread",
        "2 threads",
        "bytes"
    );
    type Make<K> = fn(usize) -> Box<dyn Map<K>>;
    let contenders: [(&str, Make<K>); 7] = [
        ("papaya", |_| Box::new(papaya::HashMap::<K, Found, Fold>::default())),
        ("scc::HashIndex", |_| Box::new(scc::HashIndex::<K, Found, Fold>::default())),
        ("scc::HashMap", |_| Box::new(scc::HashMap::<K, Found, Fold>::default())),
        ("dashmap", |_| Box::new(dashmap::DashMap::<K, Found, Fold>::default())),
        ("quick_cache", |keys| Box::new(bounded::<K>(keys))),
        ("RwLock<HashMap>", |_| Box::new(RwLock::new(HashMap::<K, Found, Fold>::default()))),
        ("papaya, std's hash", |_| Box::new(papaya::HashMap::<K, Found, RandomState>::default())),
    ];
    let columns = KEYS.map(|count| measure(&contenders.map(|(_, make)| make(count)), count, rounds));
    for (place, (name, _)) in contenders.iter().enumerate() {
        print!("{name:<34}");
        for column in &columns {
            for (least, median) in column[place].times {
                print!("{:>16}", format!("{least:.0} ({median:.0})"));
            }
        }
        println!("{:>7.0}", columns[1][place].bytes);
    }
}

struct Result {
    /// With one and with two threads.
    times: [(f64, f64); 2],
    bytes: f64,
}

fn measure<K: Key>(maps: &[Box<dyn Map<K>>], count: usize, rounds: usize) -> Vec<Result> {
    let mut keys: Vec<_> = (0..count).map(K::number).collect();
    let bytes: Vec<_> = maps.iter().map(|map| fill(&**map, &keys)).collect();
    crate::upstream::shuffle(&mut keys);

    let mut times = vec![[Vec::new(), Vec::new()]; maps.len()];
    for round in 0..rounds {
        for turn in 0..maps.len() {
            let turn = (turn + round) % maps.len();
            let lookups = |from| lookups(&*maps[turn], &keys, from);
            let [alone, together] = &mut times[turn];
            // Never the same keys twice in a row, which would be in the cache still.
            alone.push(lookups(2 * round));
            together.push(two_threads(|| lookups(2 * round + 1)));
        }
    }
    let results = times.into_iter().zip(bytes);
    results.map(|(times, bytes)| Result { times: times.map(crate::measure::least_and_median), bytes }).collect()
}

fn fill<K: Key>(map: &dyn Map<K>, keys: &[K]) -> f64 {
    let values: Vec<_> = keys.iter().map(|_| Found::default()).collect();
    let before = Heap::now();
    for (key, value) in keys.iter().zip(&values) {
        map.insert(key.clone(), value.clone());
    }
    Heap::now().since(before).live as f64 / keys.len() as f64
}

/// Nanoseconds a lookup.
fn lookups<K: Key>(map: &dyn Map<K>, keys: &[K], from: usize) -> f64 {
    let from = from * LOOKUPS % keys.len();
    let keys = keys.iter().cycle().skip(from).take(LOOKUPS);
    let start = Instant::now();
    let found = keys.filter(|key| black_box(map.find(key)).is_some()).count();
    let elapsed = start.elapsed();
    assert_eq!(found, LOOKUPS, "every key is there");
    elapsed.as_nanos() as f64 / LOOKUPS as f64
}

fn two_threads(run: impl Fn() -> f64 + Sync) -> f64 {
    let together = Together::default();
    let run = || {
        together.wait();
        run()
    };
    thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(run));
        threads.map(|thread| thread.join().expect("a thread that only looks up")).iter().sum::<f64>() / 2.0
    })
}

fn bounded<K: Key>(keys: usize) -> quick_cache::sync::Cache<K, Found, quick_cache::UnitWeighter, Fold> {
    // Twice the room, so that its shards do not push out what the others keep.
    let capacity = 2 * keys;
    quick_cache::sync::Cache::with(
        capacity,
        capacity as u64,
        quick_cache::UnitWeighter,
        Fold::default(),
        quick_cache::sync::DefaultLifecycle::default(),
    )
}

impl Key for HeaderValue {
    const NAME: &'static str = "by HeaderValue";

    fn number(number: usize) -> Self {
        HeaderValue::from_maybe_shared(Bytes::from(format!("tenant-{number:06}"))).expect("text makes a value")
    }
}

impl Key for Authority {
    const NAME: &'static str = "by Authority";

    fn number(number: usize) -> Self {
        Authority::from_maybe_shared(Bytes::from(format!("tenant-{number:06}.api.example.com"))).expect("a host")
    }
}

impl<K: Key, S: BuildHasher + Sync> Map<K> for papaya::HashMap<K, Found, S> {
    fn insert(&self, key: K, value: Found) {
        self.pin().insert(key, value);
    }

    fn find(&self, key: &K) -> Option<Found> {
        self.pin().get(key).cloned()
    }
}

impl<K: Key> Map<K> for scc::HashIndex<K, Found, Fold> {
    fn insert(&self, key: K, value: Found) {
        let _ = self.insert_sync(key, value);
    }

    fn find(&self, key: &K) -> Option<Found> {
        self.peek_with(key, |_, found| found.clone())
    }
}

impl<K: Key> Map<K> for scc::HashMap<K, Found, Fold> {
    fn insert(&self, key: K, value: Found) {
        let _ = self.insert_sync(key, value);
    }

    fn find(&self, key: &K) -> Option<Found> {
        self.read_sync(key, |_, found| found.clone())
    }
}

impl<K: Key> Map<K> for dashmap::DashMap<K, Found, Fold> {
    fn insert(&self, key: K, value: Found) {
        self.insert(key, value);
    }

    fn find(&self, key: &K) -> Option<Found> {
        self.get(key).map(|found| found.value().clone())
    }
}

impl<K: Key> Map<K> for quick_cache::sync::Cache<K, Found, quick_cache::UnitWeighter, Fold> {
    fn insert(&self, key: K, value: Found) {
        self.insert(key, value);
    }

    fn find(&self, key: &K) -> Option<Found> {
        self.get(key)
    }
}

impl<K: Key> Map<K> for RwLock<HashMap<K, Found, Fold>> {
    fn insert(&self, key: K, value: Found) {
        self.write().expect("nobody panics with it").insert(key, value);
    }

    fn find(&self, key: &K) -> Option<Found> {
        self.read().expect("nobody panics with it").get(key).cloned()
    }
}
