//! One computed value for all callers that wait for it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::{sync::Mutex, task::yield_now};

/// A value that is made on request. One value is made at a time, and all callers that asked before its making
/// began share it.
#[derive(Debug)]
pub(crate) struct Shared<T> {
    /// How many callers have asked so far.
    asked: AtomicU64,
    /// The latest value, and how many callers had asked when its making began.
    latest: Mutex<(u64, Option<T>)>,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { asked: AtomicU64::default(), latest: Mutex::new((0, None)) }
    }
}

impl<T: Clone> Shared<T> {
    /// A value that `make` made after this call began, for this caller or for another caller that waited too.
    pub(super) async fn get(&self, make: impl FnOnce() -> T) -> T {
        let index = self.asked.fetch_add(1, Relaxed);
        let mut latest = self.latest.lock().await;
        match &latest.1 {
            Some(made) if index < latest.0 => made.clone(),
            _ => {
                // Callers that are ready to run ask first, so that they share this value.
                yield_now().await;
                let begun = self.asked.load(Relaxed);
                let made = make();
                *latest = (begun, Some(made.clone()));
                made
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn all_who_asked_before_it_was_begun_share_what_is_made() {
        let shared = Shared::default();
        let made = AtomicU64::new(0);
        let ask = || shared.get(|| made.fetch_add(1, Relaxed) + 1);
        assert_eq!(join_all((0..100).map(|_| ask())).await, [1; 100]);
        assert_eq!(ask().await, 2, "who asks afterwards gets what is true now");
        assert_eq!(join_all((0..100).map(|_| ask())).await, [3; 100]);
    }

    #[tokio::test]
    async fn who_asks_while_it_is_made_waits_for_the_next() {
        let shared = Shared::default();
        let mut late = None;
        let first = shared.get(|| {
            // While the first value is made, a second caller asks.
            let mut second = Box::pin(shared.get(|| 2));
            let waker = std::task::Waker::noop();
            assert!(second.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
            late = Some(second);
            1
        });
        assert_eq!(first.await, 1);
        assert_eq!(late.unwrap().await, 2);
    }

    #[tokio::test]
    async fn who_gives_up_takes_nothing_from_the_others() {
        let shared = Shared::default();
        let mut gone = Box::pin(shared.get(|| 1));
        let waker = std::task::Waker::noop();
        assert!(gone.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
        drop(gone);
        assert_eq!(shared.get(|| 2).await, 2);
    }
}
