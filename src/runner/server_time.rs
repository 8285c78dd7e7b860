//! mana-auth's time. All facts carry it, so that they agree with the slots of the runs, whatever the daemon's clock
//! shows.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::time::Instant;

/// By how much the daemon's clock may run faster than this process notices, before it counts as moved.
const DRIFT: Duration = Duration::from_secs(3_600);

/// What mana-auth has last told of its time; `None` while it has told nothing.
#[derive(Debug, Default)]
pub(crate) struct ServerTime(Mutex<Option<Told>>);

#[derive(Clone, Copy, Debug)]
struct Told {
    /// The time that mana-auth told.
    server_time: Timestamp,
    /// How far mana-auth's clock was ahead of the daemon's.
    ahead: SignedDuration,
    /// When this process noted it.
    noted: Instant,
}

impl ServerTime {
    /// Starts with what an earlier process stored: mana-auth's time, and the time that the daemon's clock showed then.
    pub(super) fn of_last_tick(stored: Option<(Timestamp, Timestamp)>) -> Self {
        let time = Self::default();
        if let Some((server_time, clock_at)) = stored {
            time.note(server_time, clock_at);
        }
        time
    }

    /// Notes that mana-auth answered with `server_time` when the daemon's clock showed `now`.
    pub(super) fn note(&self, server_time: Timestamp, now: Timestamp) {
        let (ahead, noted) = (server_time.duration_since(now), Instant::now());
        *self.0.lock() = Some(Told { server_time, ahead, noted });
    }

    /// The time that mana-auth has last told: the actual time is not before it, whatever the daemon's clock shows.
    pub(super) fn last_told(&self) -> Option<Timestamp> {
        self.0.lock().map(|told| told.server_time)
    }

    /// mana-auth's time when the daemon's clock shows `now`; `None` while it is not known.
    pub(super) fn known_at(&self, now: Timestamp) -> Option<Timestamp> {
        let Told { ahead, .. } = (*self.0.lock())?;
        let bound = if ahead.is_negative() { Timestamp::MIN } else { Timestamp::MAX };
        Some(now.checked_add(ahead).unwrap_or(bound))
    }

    /// Like [`Self::known_at`], but `None` too if the daemon's clock was put forward since mana-auth told its time, or
    /// if an earlier process ended long ago: a time that is too late would be the newest of all facts.
    pub(super) fn sure_at(&self, now: Timestamp) -> Option<Timestamp> {
        let at = self.known_at(now)?;
        let Told { server_time, noted, .. } = (*self.0.lock())?;
        let elapsed = SignedDuration::try_from(noted.elapsed() + DRIFT).ok()?;
        (at.duration_since(server_time) <= elapsed).then_some(at)
    }

    /// Like [`Self::known_at`]; while mana-auth's time is not known, the daemon's takes its place.
    pub(super) fn at(&self, now: Timestamp) -> Timestamp {
        self.known_at(now).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_goes_on_from_the_last_answer_or_else_from_that_of_an_earlier_process() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let (daemon, server) = (time("2026-03-09T11:00:00Z"), time("2026-11-20T08:00:00.5Z"));
        let minute = SignedDuration::from_mins(1);
        let unknown = ServerTime::default();
        assert_eq!((unknown.known_at(daemon), unknown.at(daemon)), (None, daemon));
        assert_eq!(unknown.last_told(), None);
        let known = ServerTime::of_last_tick(Some((server, daemon)));
        assert_eq!(known.at(daemon + minute), server + minute);
        assert_eq!(known.last_told(), Some(server), "whatever the daemon's clock shows");
        known.note(server, server + minute);
        assert_eq!(known.known_at(server + minute * 3), Some(server + minute * 2));
    }

    #[test]
    fn after_the_clock_was_put_forward_no_time_is_sure_before_the_next_answer() {
        let server: Timestamp = "2026-11-20T08:00:00Z".parse().unwrap();
        let time = ServerTime::of_last_tick(Some((server, server)));
        let [soon, later] = [59, 120].map(|minutes| server + SignedDuration::from_mins(minutes));
        assert_eq!((time.sure_at(soon), time.sure_at(later)), (Some(soon), None));
        time.note(server, later);
        assert_eq!(time.sure_at(later), Some(server));
    }

    #[test]
    fn two_clocks_that_are_far_apart_do_not_overflow() {
        let time = ServerTime::default();
        for (server, daemon) in [(Timestamp::MAX, Timestamp::MIN), (Timestamp::MIN, Timestamp::MAX)]
        {
            time.note(server, daemon);
            assert_eq!(time.at(Timestamp::UNIX_EPOCH), server);
        }
    }
}
