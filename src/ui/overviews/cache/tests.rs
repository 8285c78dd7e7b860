use std::sync::{
    Weak,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::future::join_all;
use tokio::time::{advance, sleep};

use super::*;

/// The number of the computation, and the revision that it read.
type Value = (usize, u32);
type Answer = Option<Result<Found<Value>, String>>;

struct World {
    cache: Cache<&'static str, Value, u32>,
    /// How many computations there were.
    count: Arc<AtomicUsize>,
    clock: Clock,
    shutdown: Shutdown,
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl World {
    fn new(most: usize) -> Self {
        let clock = Clock::manual("2026-11-04T11:00:00Z".parse().unwrap());
        let shutdown = Shutdown::new(seconds(1));
        let turn = Arc::new(Semaphore::new(1));
        let cache = Cache::new(most, turn, clock.clone(), shutdown.clone());
        Self { cache, count: Arc::default(), clock, shutdown }
    }

    /// Asks for a value of these facts whose computation takes so long.
    async fn get(&self, key: &'static str, revision: u32, takes: Duration) -> Answer {
        let count = self.count.clone();
        let compute = || async move {
            let number = 1 + count.fetch_add(1, Ordering::Relaxed);
            sleep(takes).await;
            Ok(((number, revision), revision))
        };
        self.cache.get(key, &revision, compute).await
    }

    /// Asks for a value whose computation fails.
    async fn fail(&self, key: &'static str, revision: u32, takes: Duration) -> Answer {
        let compute = || async move {
            sleep(takes).await;
            Err("the disk is gone".to_owned())
        };
        self.cache.get(key, &revision, compute).await
    }

    fn computed(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

/// A value of the facts that were asked for.
fn fresh(answer: Answer) -> Value {
    let found = answer.unwrap().unwrap();
    assert_eq!((found.as_of, found.failure), (None, None));
    *found.value
}

/// A value of earlier facts, and when it was computed.
fn old(answer: Answer) -> (Value, Timestamp) {
    let found = answer.unwrap().unwrap();
    (*found.value, found.as_of.unwrap())
}

fn failure(answer: Answer) -> String {
    answer.unwrap().err().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_value_is_computed_once_as_long_as_the_facts_stay_the_same() {
    let world = World::new(2);
    for _ in 0..3 {
        assert_eq!(fresh(world.get("a", 1, seconds(1)).await), (1, 1));
        advance(seconds(60)).await;
    }
    assert_eq!(fresh(world.get("b", 1, seconds(1)).await), (2, 1));
    assert_eq!(fresh(world.get("a", 2, seconds(0)).await), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_first_waits_two_seconds_and_the_computation_goes_on() {
    let (world, begin) = (World::new(2), Instant::now());
    assert!(world.get("a", 1, seconds(5)).await.is_none());
    assert_eq!(begin.elapsed(), seconds(2));
    // Others wait for the same computation.
    assert!(world.get("a", 1, seconds(5)).await.is_none());
    assert_eq!(begin.elapsed(), seconds(4));
    assert_eq!(fresh(world.get("a", 1, seconds(5)).await), (1, 1));
    assert_eq!(begin.elapsed(), seconds(5));
}

#[tokio::test(start_paused = true)]
async fn the_old_value_is_shown_with_its_time_while_a_new_one_is_computed() {
    let world = World::new(2);
    let begin = world.clock.now();
    fresh(world.get("a", 1, seconds(1)).await);
    world.clock.advance(seconds(60));
    advance(seconds(60)).await;
    let asked = Instant::now();
    assert_eq!(old(world.get("a", 2, seconds(1)).await), ((1, 1), begin));
    assert_eq!(asked.elapsed(), Duration::from_millis(200));
    assert_eq!(old(world.get("a", 2, seconds(1)).await), ((1, 1), begin));
    sleep(seconds(1)).await;
    assert_eq!(fresh(world.get("a", 2, seconds(1)).await), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_new_value_that_is_there_in_time_is_shown() {
    let world = World::new(2);
    fresh(world.get("a", 1, seconds(1)).await);
    advance(seconds(60)).await;
    assert_eq!(fresh(world.get("a", 2, Duration::from_millis(150)).await), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_value_of_later_facts_than_those_that_were_asked_for_is_no_old_one() {
    let world = World::new(2);
    fresh(world.get("a", 1, seconds(1)).await);
    advance(seconds(60)).await;
    let later = || async { Ok(((7, 3), 3)) };
    assert_eq!(fresh(world.cache.get("a", &2, later).await), (7, 3));
}

#[tokio::test(start_paused = true)]
async fn a_value_is_computed_again_after_ten_times_as_long_as_it_took() {
    let world = World::new(2);
    fresh(world.get("a", 1, seconds(1)).await);
    for revision in 2..11 {
        advance(seconds(1)).await;
        let asked = Instant::now();
        assert_eq!(old(world.get("a", revision, seconds(0)).await).0, (1, 1));
        assert_eq!(asked.elapsed(), seconds(0), "nobody waits for what is not computed");
    }
    assert_eq!(world.computed(), 1);
    advance(seconds(1)).await;
    assert_eq!(fresh(world.get("a", 11, seconds(0)).await), (2, 11));
}

#[tokio::test(start_paused = true)]
async fn one_value_is_computed_at_a_time() {
    let (world, begin) = (World::new(3), Instant::now());
    let answers = ["a", "b", "c"].map(|key| world.get(key, 1, Duration::from_millis(900)));
    let [a, b, c] = join_all(answers).await.try_into().unwrap();
    assert_eq!((fresh(a), fresh(b)), ((1, 1), (2, 1)));
    assert!(c.is_none());
    assert_eq!(begin.elapsed(), seconds(2));
    assert_eq!(fresh(world.get("c", 1, seconds(1)).await), (3, 1));
    assert_eq!(begin.elapsed(), Duration::from_millis(2_700));
}

#[tokio::test(start_paused = true)]
async fn the_value_that_was_not_used_for_longest_makes_room() {
    let world = World::new(2);
    for key in ["a", "b", "a", "c", "a"] {
        fresh(world.get(key, 1, seconds(0)).await);
        advance(seconds(1)).await;
    }
    assert_eq!(world.computed(), 3);
    fresh(world.get("b", 1, seconds(0)).await);
    assert_eq!(world.computed(), 4);
}

#[tokio::test(start_paused = true)]
async fn what_is_being_computed_makes_no_room() {
    let world = World::new(2);
    let answers = ["a", "b", "c"].map(|key| world.get(key, 1, seconds(5)));
    assert!(join_all(answers).await.iter().all(Option::is_none));
    sleep(seconds(20)).await;
    assert_eq!(world.computed(), 2);
    for key in ["a", "b"] {
        fresh(world.get(key, 1, seconds(5)).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_is_dropped_ten_minutes_after_its_last_use() {
    let world = World::new(2);
    let kept = async |key| -> Weak<Value> {
        let found = world.get(key, 1, seconds(0)).await.unwrap().unwrap();
        Arc::downgrade(&found.value)
    };
    let (a, b) = (kept("a").await, kept("b").await);
    sleep(seconds(599)).await;
    fresh(world.get("b", 1, seconds(0)).await);
    sleep(seconds(2)).await;
    assert_eq!((a.strong_count(), b.strong_count()), (0, 1));
    sleep(seconds(599)).await;
    assert_eq!(b.strong_count(), 0);
    // When nothing is left, it begins anew.
    let c = kept("c").await;
    assert_eq!(c.strong_count(), 1);
    sleep(seconds(601)).await;
    assert_eq!(c.strong_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_and_tried_again() {
    let world = World::new(2);
    assert_eq!(failure(world.fail("a", 1, seconds(0)).await), "the disk is gone");
    // Not at once.
    assert_eq!(failure(world.get("a", 1, seconds(0)).await), "the disk is gone");
    advance(seconds(1)).await;
    assert_eq!(fresh(world.get("a", 1, seconds(0)).await), (1, 1));
    // Whoever waits for the next try is not told of the last one.
    assert_eq!(failure(world.fail("b", 1, seconds(1)).await), "the disk is gone");
    advance(seconds(10)).await;
    assert!(world.get("b", 1, seconds(3)).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_old_value_says_that_it_could_not_be_computed_again() {
    let world = World::new(2);
    fresh(world.get("a", 1, seconds(0)).await);
    advance(seconds(1)).await;
    let found = world.fail("a", 2, seconds(0)).await.unwrap().unwrap();
    assert_eq!((*found.value, found.failure.as_deref()), ((1, 1), Some("the disk is gone")));
    assert!(found.as_of.is_some());
    // The facts are again those of the value.
    assert_eq!(fresh(world.fail("a", 1, seconds(0)).await), (1, 1));
    advance(seconds(1)).await;
    assert_eq!(fresh(world.get("a", 3, seconds(0)).await), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn without_a_revision_the_old_value_is_shown_with_the_reason() {
    let world = World::new(2);
    assert!(world.cache.old(&"a", &"too slow").is_none());
    fresh(world.get("a", 1, seconds(0)).await);
    let found = world.cache.old(&"a", &"too slow").unwrap();
    assert_eq!((*found.value, found.failure.as_deref()), ((1, 1), Some("too slow")));
    assert_eq!(found.as_of, Some(world.clock.now()));
}

#[tokio::test(start_paused = true)]
async fn a_computation_that_panics_is_not_yet_there_and_begun_again() {
    let world = World::new(2);
    let panics = || async { panic!("on purpose") };
    assert!(world.cache.get("a", &1, panics).await.is_none());
    assert_eq!(fresh(world.get("a", 1, seconds(0)).await), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_computations_and_the_wait_for_them() {
    let (world, begin) = (World::new(2), Instant::now());
    let stop = async {
        sleep(Duration::from_millis(500)).await;
        world.shutdown.stop();
    };
    let answers = [world.get("a", 1, seconds(1)), world.get("b", 1, seconds(1))];
    let (answers, ()) = tokio::join!(join_all(answers), stop);
    assert!(answers.iter().all(Option::is_none));
    assert_eq!(begin.elapsed(), Duration::from_millis(500));
    sleep(seconds(5)).await;
    assert_eq!(world.computed(), 1, "the second one had not begun");
}
