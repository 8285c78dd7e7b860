//! Bounded fan-out: one job per item, as many at once as allowed, none able to hurt another.

use std::{collections::HashMap, sync::Arc};

use tokio::{
    sync::Semaphore,
    task::{Id, JoinSet},
};

use crate::shutdown::Shutdown;

/// What became of one item.
#[derive(Debug)]
pub(super) enum Outcome<T> {
    /// Its job ended.
    Ended(T),
    /// Its job panicked.
    Panicked,
    /// It was never started: the runner is stopping.
    NotStarted,
}

/// Runs `job` on every item, at most as many at once as there are permits, as a sliding window: a slow one
/// never holds up the others. Whoever shares the permits shares that bound. The outcomes are in the order of the items. After a stop no further job is
/// started. Dropping the future ends all jobs.
#[expect(clippy::disallowed_methods, reason = "the runs of a tick end with it")]
pub(super) async fn fan_out<I, T, F>(
    items: Vec<I>,
    permits: &Arc<Semaphore>,
    shutdown: &Shutdown,
    job: impl Fn(I) -> F,
) -> Vec<Outcome<T>>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut outcomes: Vec<_> = items.iter().map(|_| Outcome::NotStarted).collect();
    let mut jobs = JoinSet::new();
    let mut places: HashMap<Id, usize> = HashMap::new();
    for (place, item) in items.into_iter().enumerate() {
        // Waiting for the permit before spawning keeps the number of tasks bounded too.
        let permit = tokio::select! {
            biased;
            () = shutdown.stopping() => break,
            permit = permits.clone().acquire_owned() => permit,
        };
        let future = job(item);
        let id = jobs
            .spawn(async move {
                let _permit = permit;
                future.await
            })
            .id();
        places.insert(id, place);
    }
    while let Some(joined) = jobs.join_next_with_id().await {
        let (id, outcome) = match joined {
            Ok((id, value)) => (id, Outcome::Ended(value)),
            Err(error) => (error.id(), Outcome::Panicked),
        };
        if let Some(&place) = places.get(&id) {
            outcomes[place] = outcome;
        }
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use tokio::time::{Instant, sleep};

    use super::*;

    fn at_once(number: usize) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(number))
    }

    fn running() -> Shutdown {
        Shutdown::new(Duration::from_secs(1))
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_item_never_holds_up_the_others() {
        let start = Instant::now();
        let seconds = vec![10, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1];
        let ended = fan_out(seconds, &at_once(2), &running(), move |s| async move {
            sleep(Duration::from_secs(s)).await;
            start.elapsed().as_secs()
        })
        .await;
        let at: Vec<_> = ended
            .into_iter()
            .map(|outcome| match outcome {
                Outcome::Ended(second) => second,
                other => panic!("{other:?}"),
            })
            .collect();
        // In chunks of two, the third item would have to wait for the slow first.
        assert_eq!(at, [10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    }

    #[tokio::test(start_paused = true)]
    async fn never_more_than_allowed_run_at_once() {
        let (now, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        fan_out((0..50).collect(), &at_once(7), &running(), |n: u64| {
            let (now, peak) = (now.clone(), peak.clone());
            async move {
                peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                sleep(Duration::from_millis(n % 5 + 1)).await;
                now.fetch_sub(1, Ordering::SeqCst);
            }
        })
        .await;
        assert_eq!(peak.load(Ordering::SeqCst), 7);
    }

    #[tokio::test]
    async fn a_panic_is_the_outcome_of_its_item_and_nothing_else() {
        let outcomes = fan_out(vec![1, 2, 3], &at_once(1), &running(), |n| async move {
            assert!(n != 2, "two is too much");
            n
        })
        .await;
        assert!(matches!(outcomes[..], [Outcome::Ended(1), Outcome::Panicked, Outcome::Ended(3)]));
    }

    #[tokio::test]
    async fn after_a_stop_nothing_more_is_started() {
        let shutdown = running();
        let stop = shutdown.clone();
        let outcomes = fan_out(vec![1, 2, 3], &at_once(1), &shutdown, move |n| {
            let stop = stop.clone();
            async move {
                stop.stop();
                n
            }
        })
        .await;
        assert!(matches!(
            outcomes[..],
            [Outcome::Ended(1), Outcome::NotStarted, Outcome::NotStarted]
        ));
    }
}
