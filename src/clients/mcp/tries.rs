//! How often a tool call was tried, and how long its last try took.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The tries of one tool call. It is shared with the call, so that it can be read when the call was given up.
#[derive(Debug, Default)]
pub struct Tries(Mutex<State>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    count: u32,
    /// When the try under way began.
    begun: Option<Instant>,
    /// How long the last try that has ended took.
    took: Duration,
}

impl Tries {
    /// Carries out a try and notes how long it takes.
    pub(super) async fn note<T>(&self, attempt: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        {
            let mut state = self.0.lock();
            (state.count, state.begun) = (state.count.saturating_add(1), Some(begun));
        }
        let result = attempt.await;
        let mut state = self.0.lock();
        (state.begun, state.took) = (None, begun.elapsed());
        result
    }

    /// How many tries were begun so far.
    pub fn count(&self) -> u32 {
        self.0.lock().count
    }

    /// How long the last try took, or how long it has taken so far.
    pub fn last(&self) -> Duration {
        let State { begun, took, .. } = *self.0.lock();
        begun.map_or(took, |begun| begun.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_last_try_counts_even_if_it_was_given_up() {
        let second = Duration::from_secs(1);
        let tries = Tries::default();
        assert_eq!((tries.count(), tries.last()), (0, Duration::ZERO));
        tries.note(advance(3 * second)).await;
        assert_eq!((tries.count(), tries.last()), (1, 3 * second));
        // The pause between two tries belongs to none of them.
        advance(second).await;
        let silence = tries.note(std::future::pending::<()>());
        timeout(2 * second, silence).await.unwrap_err();
        assert_eq!((tries.count(), tries.last()), (2, 2 * second));
    }
}
