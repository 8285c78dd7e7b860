//! Bounded fan-out: one task for each item, with a limit on concurrent tasks. A panic in one task does not
//! affect the others.

use futures_util::future::join_all;
use tokio_util::task::AbortOnDropHandle;

/// Admits the items one after the other, and runs `job` on each admitted item in a task that holds the item's
/// permit. A slow job does not delay the others as long as there are permits. The results are in the order of
/// the items: `Err` for an item that was not admitted, `None` for a job that panicked. Dropping the future
/// aborts all jobs.
#[expect(clippy::disallowed_methods, reason = "the runs of a tick end with it")]
pub(super) async fn fan_out<I, T, E, P, A, F>(
    items: Vec<I>,
    admit: impl Fn(&I) -> A,
    job: impl Fn(I) -> F,
) -> Vec<Result<Option<T>, E>>
where
    T: Send + 'static,
    P: Send + 'static,
    A: Future<Output = Result<P, E>>,
    F: Future<Output = T> + Send + 'static,
{
    let mut jobs = Vec::with_capacity(items.len());
    for item in items {
        // The permit is awaited before the task is spawned, so that the number of tasks is bounded too.
        let admitted = admit(&item).await;
        jobs.push(admitted.map(|permit| {
            let future = job(item);
            AbortOnDropHandle::new(tokio::spawn(async move {
                let _permit = permit;
                future.await
            }))
        }));
    }
    join_all(jobs.into_iter().map(async |job| Ok(job?.await.ok()))).await
}

#[cfg(test)]
mod tests {
    use std::{
        future::ready,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use futures_util::future::BoxFuture;
    use tokio::{
        sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
        time::{Instant, sleep},
    };

    use super::*;

    type Permit = Result<OwnedSemaphorePermit, AcquireError>;

    fn at_once(number: usize) -> impl Fn(&u64) -> BoxFuture<'static, Permit> {
        let permits = Arc::new(Semaphore::new(number));
        move |_| Box::pin(permits.clone().acquire_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_item_never_holds_up_the_others() {
        let start = Instant::now();
        let seconds = vec![10, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1];
        let ended = fan_out(seconds, at_once(2), move |s| async move {
            sleep(Duration::from_secs(s)).await;
            start.elapsed().as_secs()
        })
        .await;
        let at: Vec<_> = ended
            .into_iter()
            .map(|outcome| match outcome {
                Ok(Some(second)) => second,
                other => panic!("{other:?}"),
            })
            .collect();
        // With chunks of two, the third item would have to wait for the slow first item.
        assert_eq!(at, [10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    }

    #[tokio::test(start_paused = true)]
    async fn never_more_than_allowed_run_at_once() {
        let (now, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        fan_out((0..50).collect(), at_once(7), |n| {
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
        let outcomes = fan_out(vec![1, 2, 3], at_once(1), |n| async move {
            assert!(n != 2, "two is too much");
            n
        })
        .await;
        assert!(matches!(outcomes[..], [Ok(Some(1)), Ok(None), Ok(Some(3))]));
    }

    #[tokio::test]
    async fn what_is_not_admitted_is_not_started() {
        let admit = |n: &u64| ready(if *n == 2 { Err("two is too much") } else { Ok(()) });
        let outcomes = fan_out(vec![1, 2, 3], admit, |n| async move { n }).await;
        assert!(matches!(outcomes[..], [Ok(Some(1)), Err("two is too much"), Ok(Some(3))]));
    }
}
