//! One answer for everybody who waits for it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::{sync::Mutex, task::yield_now};

/// Something that is made for whoever asks, for one at a time: all who asked before that was begun share it.
#[derive(Debug)]
pub(crate) struct Shared<T> {
    asked: AtomicU64,
    /// The latest, and how many had asked when it was begun.
    latest: Mutex<(u64, Option<T>)>,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { asked: AtomicU64::default(), latest: Mutex::new((0, None)) }
    }
}

impl<T: Clone> Shared<T> {
    /// What `make` makes, here or for somebody else who waited with this caller.
    pub(super) async fn get(&self, make: impl FnOnce() -> T) -> T {
        let index = self.asked.fetch_add(1, Relaxed);
        let mut latest = self.latest.lock().await;
        match &latest.1 {
            Some(made) if index < latest.0 => made.clone(),
            _ => {
                // Requests that are there already ask first.
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
            // In the middle of the first, a second one asks.
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
