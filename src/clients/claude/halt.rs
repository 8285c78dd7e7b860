//! All use of the model has stopped: why, and when to look again.

use std::time::Duration;

use jiff::Timestamp;

use super::Admission;

/// Until the first probe; doubled after each one that finds nothing changed.
const FIRST_WAIT: Duration = Duration::from_secs(600);
/// Longest time between probes.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

#[derive(Debug)]
pub(super) struct Halt {
    pub(super) reason: String,
    wait: Duration,
    /// When the wait began.
    since: Timestamp,
    /// Whether a run is to find out if it is over.
    pub(super) probing: bool,
    /// Whether it is runs that were refused, one after the other, and not the account or the key: one more of
    /// them says that nothing has changed.
    pub(super) of_runs: bool,
}

impl Halt {
    pub(super) fn new(reason: String, now: Timestamp) -> Self {
        Self { reason, wait: FIRST_WAIT, since: now, probing: false, of_runs: false }
    }

    /// The same again. Only a probe learns something new; others were on their way already.
    pub(super) fn renew(&mut self, reason: String, now: Timestamp) {
        if !self.probing {
            return;
        }
        let wait = (self.wait * 2).min(LONGEST_WAIT);
        tracing::warn!(
            next_probe_s = wait.as_secs(),
            "the probe was refused too, the model stays unused: {reason}"
        );
        *self = Self { wait, of_runs: self.of_runs, ..Self::new(reason, now) };
    }

    pub(super) fn admit(&mut self, now: Timestamp) -> Admission {
        // Set back behind the beginning, the clock no longer says how long it has been.
        let waited = Duration::try_from(now.duration_since(self.since));
        if self.probing || waited.is_ok_and(|waited| waited < self.wait) {
            return Admission::Stopped(self.reason.clone());
        }
        self.probing = true;
        Admission::Probe
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_come_after_ten_minutes_doubling_to_an_hour() {
        let mut now = Timestamp::UNIX_EPOCH;
        let mut halt = Halt::new("401".into(), now);
        for minutes in [10, 20, 40, 60, 60] {
            let wait = Duration::from_secs(minutes * 60);
            assert_eq!(
                halt.admit(now + wait - Duration::from_secs(1)),
                Admission::Stopped("401".into())
            );
            now += wait;
            assert_eq!(halt.admit(now), Admission::Probe);
            assert!(halt.probing);
            assert_eq!(halt.admit(now), Admission::Stopped("401".into()), "one at a time");
            halt.renew("401".into(), now);
        }
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_put_the_probe_off() {
        let now = Timestamp::UNIX_EPOCH;
        let mut halt = Halt::new("401".into(), now + Duration::from_secs(86_400));
        assert_eq!(halt.admit(now), Admission::Probe);
    }

    #[test]
    fn a_probe_that_asked_nothing_is_given_out_again() {
        let now = Timestamp::UNIX_EPOCH + FIRST_WAIT;
        let mut halt = Halt::new("402".into(), Timestamp::UNIX_EPOCH);
        assert_eq!(halt.admit(now), Admission::Probe);
        halt.probing = false;
        assert_eq!(halt.admit(now), Admission::Probe);
    }

    #[test]
    fn what_was_on_its_way_already_does_not_put_the_probe_off() {
        let mut halt = Halt::new("403".into(), Timestamp::UNIX_EPOCH);
        halt.renew("403".into(), Timestamp::UNIX_EPOCH + FIRST_WAIT / 2);
        assert_eq!(halt.admit(Timestamp::UNIX_EPOCH + FIRST_WAIT), Admission::Probe);
    }
}
