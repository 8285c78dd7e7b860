//! Keeps logins below the rate limit of a deployment that has one.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use super::error::Problem;

/// Pause between logins after a rate limit was met. The limit is 3 logins in 10 s
/// (docs/contracts/mana-auth.md).
const SPACING: Duration = Duration::from_millis(3_400);

/// Lets logins through at once until one is refused by a rate limit. Then logins wait as long as mana-auth
/// says, and go one by one for the rest of the process.
#[derive(Debug, Default)]
pub(super) struct SignInGate {
    next: Mutex<Option<Instant>>,
}

impl SignInGate {
    /// Waits until the next login may be sent.
    ///
    /// # Errors
    /// At once, if the next login may not be sent before `deadline`.
    pub(super) async fn pass(&self, deadline: Instant) -> Result<(), Problem> {
        let turn = {
            let mut next = self.next.lock();
            let (now, Some(at)) = (Instant::now(), *next) else { return Ok(()) };
            let turn = at.max(now);
            if turn >= deadline {
                let wait = (turn - now).as_secs();
                let why = format!("not sent, mana-auth's rate limit allows it only in {wait} s");
                return Err(Problem::Other(why, None));
            }
            *next = Some(turn + SPACING);
            turn
        };
        sleep_until(turn).await;
        Ok(())
    }

    /// Lets no login through before `wait` has passed.
    pub(super) fn hold(&self, wait: Duration) {
        let mut next = self.next.lock();
        *next = (*next).max(Some(Instant::now() + wait));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn logins_pass_freely_until_one_was_refused_and_one_by_one_after_it() {
        let gate = SignInGate::default();
        let start = Instant::now();
        let deadline = start + Duration::from_secs(60);
        for _ in 0..100 {
            assert!(gate.pass(deadline).await.is_ok());
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        gate.hold(Duration::from_secs(10));
        assert!(gate.pass(deadline).await.is_ok());
        assert_eq!(start.elapsed(), Duration::from_secs(10));
        assert!(gate.pass(deadline).await.is_ok());
        assert_eq!(start.elapsed(), Duration::from_secs(10) + SPACING);
        gate.hold(Duration::from_secs(600));
        let refusal = gate.pass(deadline).await.unwrap_err().to_string();
        assert!(refusal.ends_with("allows it only in 600 s"), "{refusal}");
        assert_eq!(start.elapsed(), Duration::from_secs(10) + SPACING, "no wait for nothing");
    }
}
