//! Decides whether and when a request is sent again. No other module decides this, and retries are never
//! nested.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use http::StatusCode;
use tokio::time::{Instant, sleep};

/// An error that knows whether the same request may succeed later.
pub trait Retryable {
    /// The shortest wait after which the same request may succeed: the wait that the peer asks for, or zero.
    /// `None` if the same request will not succeed later.
    fn again_after(&self) -> Option<Duration>;
}

/// [`Retryable::again_after`] by what most services mean by a status without success: after 429 and 5xx, the
/// same request may succeed later. `asked` is the wait that the answer asks for.
pub(crate) fn again_after(status: StatusCode, asked: Option<Duration>) -> Option<Duration> {
    let may_pass = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
    may_pass.then_some(asked.unwrap_or_default())
}

/// The pauses between attempts: `base`, doubled for each attempt, less a random part of at most a quarter.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// The pause before the second attempt, without the random reduction.
    pub base: Duration,
    /// The largest number of attempts after the first one.
    pub retries: u32,
    /// The longest wait that a peer may ask for. If it asks for more, there is no further attempt.
    pub max_retry_after: Duration,
    /// The longest wait for the end of a rate limit that holds back the whole process, for a peer with such a
    /// limit.
    pub max_limit: Duration,
}

impl RetryPolicy {
    /// For reads and logins: at most two further attempts.
    pub(crate) const READ: Self = Self {
        base: Duration::from_millis(500),
        retries: 2,
        max_retry_after: Duration::from_secs(60),
        max_limit: Duration::from_secs(60),
    };

    /// For the first delivery of a run's rows. Rows that are not accepted then wait in the outbox.
    pub(crate) const FIRST_POST: Self = Self { max_limit: Duration::from_secs(10), ..Self::READ };

    /// For a later delivery: a single attempt, because the outbox itself schedules the next delivery.
    pub(crate) const ONCE: Self =
        Self { retries: 0, max_limit: Duration::from_secs(5), ..Self::READ };

    /// For Claude: what the official SDKs do (docs/contracts/anthropic-messages.md, section 6), with an upper
    /// bound on the wait that Claude may ask for.
    pub(crate) const MODEL: Self = Self::READ;

    /// For tool calls, which are sent again only if the server certainly did not run them.
    pub(crate) const TOOL: Self = Self {
        base: Duration::from_millis(250),
        max_retry_after: Duration::from_secs(10),
        max_limit: Duration::ZERO,
        ..Self::READ
    };

    /// The pause before the next attempt. `None` if there were enough attempts, or if the peer asks for too
    /// long a wait.
    ///
    /// `retries` is the number of further attempts so far, `asked` the shortest wait, and `jitter` is in
    /// `0.0..1.0`.
    fn pause(&self, retries: u32, asked: Duration, jitter: f64) -> Option<Duration> {
        let own = self.base.saturating_mul(2u32.saturating_pow(retries));
        let own = own.mul_f64(1.0 - 0.25 * jitter.clamp(0.0, 1.0));
        (retries < self.retries && asked <= self.max_retry_after).then_some(own.max(asked))
    }

    /// Makes attempts until one succeeds, one fails for good, or the policy or `deadline` allows no further
    /// one. Dropping the future ends a pause at once.
    ///
    /// `may_retry` is called before each further attempt, with the error and the pause, and may forbid the
    /// attempt.
    ///
    /// # Errors
    /// The failure of the last attempt.
    pub async fn run<T, E, F>(
        &self,
        deadline: Instant,
        may_retry: impl Fn(&E, Duration) -> bool,
        attempt: impl Fn() -> F,
    ) -> Result<T, E>
    where
        E: Retryable,
        F: Future<Output = Result<T, E>>,
    {
        let mut retries = 0;
        loop {
            let result = attempt().await;
            let Err(error) = &result else { return result };
            let pause = error.again_after().and_then(|asked| self.pause(retries, asked, jitter()));
            let fits = |pause: &_| Instant::now() + *pause < deadline && may_retry(error, *pause);
            let Some(pause) = pause.filter(fits) else { return result };
            sleep(pause).await;
            // A timer may fire a little late.
            if Instant::now() >= deadline {
                return result;
            }
            retries += 1;
        }
    }
}

/// A fraction in `0.0..1.0` that differs from call to call. The standard library seeds each of its hashers
/// differently, and a pause needs no better randomness.
fn jitter() -> f64 {
    let bits = RandomState::new().hash_one(());
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq)]
    struct Failed(Option<Duration>);

    impl Retryable for Failed {
        fn again_after(&self) -> Option<Duration> {
            self.0
        }
    }

    const AT_ONCE: Option<Duration> = Some(Duration::ZERO);

    /// Runs a policy against attempts that always fail; returns their number and when the last began.
    async fn exhaust(
        policy: RetryPolicy,
        again_after: Option<Duration>,
        deadline: Duration,
    ) -> (u32, Duration) {
        let start = Instant::now();
        let attempts = Cell::new(0);
        let last = Cell::new(Duration::ZERO);
        let result: Result<(), _> = policy
            .run(
                start + deadline,
                |_, _| true,
                || async {
                    attempts.set(attempts.get() + 1);
                    last.set(start.elapsed());
                    Err(Failed(again_after))
                },
            )
            .await;
        assert_eq!(result, Err(Failed(again_after)));
        (attempts.get(), last.get())
    }

    const DAY: Duration = Duration::from_secs(86_400);

    #[tokio::test(start_paused = true)]
    async fn reads_and_the_model_are_tried_three_times() {
        for policy in [RetryPolicy::READ, RetryPolicy::MODEL, RetryPolicy::TOOL] {
            assert_eq!(exhaust(policy, AT_ONCE, DAY).await.0, 3);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_final_failure_is_tried_once() {
        assert_eq!(exhaust(RetryPolicy::READ, None, DAY).await, (1, Duration::ZERO));
        assert_eq!(exhaust(RetryPolicy::ONCE, AT_ONCE, DAY).await, (1, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn no_attempt_starts_after_the_deadline() {
        let endless = RetryPolicy { retries: 50, ..RetryPolicy::READ };
        let (_, last) = exhaust(endless, AT_ONCE, Duration::from_secs(3)).await;
        assert!(last < Duration::from_secs(3), "{last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_after_is_honoured_up_to_its_bound() {
        let asks = |s| Some(Duration::from_secs(s));
        let (attempts, took) = exhaust(RetryPolicy::MODEL, asks(60), DAY).await;
        assert_eq!((attempts, took), (3, Duration::from_secs(120)));
        assert_eq!(exhaust(RetryPolicy::MODEL, asks(61), DAY).await.0, 1);
    }

    proptest! {
        #[test]
        fn pauses_double_and_lose_at_most_a_quarter(
            retries in 0u32..20, jitter in 0.0f64..1.0
        ) {
            let policy = RetryPolicy { retries: 50, ..RetryPolicy::READ };
            let pause = policy.pause(retries, Duration::ZERO, jitter);
            let full = Duration::from_millis(500 * 2u64.pow(retries));
            let pause = pause.unwrap();
            prop_assert!(pause <= full && pause >= full.mul_f64(0.75));
        }
    }
}
