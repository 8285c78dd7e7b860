//! mana-auth's time. All facts carry it, so that they agree with the slots of the runs, whatever the daemon's clock
//! shows.

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

/// The longest time between two notes that the runner is up; if more has passed, the daemon's clock was moved or the
/// runner was down.
const STEP: SignedDuration = SignedDuration::from_hours(2);

/// What mana-auth has last told of its time; `None` while it has told nothing.
#[derive(Debug, Default)]
pub(crate) struct ServerTime(Mutex<Option<Told>>);

#[derive(Clone, Copy, Debug)]
struct Told {
    /// The time that mana-auth told.
    server_time: Timestamp,
    /// How far mana-auth's clock was ahead of the daemon's.
    ahead: SignedDuration,
    /// mana-auth's time when the runner was last known to be up.
    up_at: Timestamp,
}

/// mana-auth's clock was put forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Jump {
    /// What mana-auth had told before.
    pub since: Timestamp,
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

    /// Notes that mana-auth answered with `server_time` when the daemon's clock showed `now`. Returns whether mana-auth's
    /// clock was put forward since the answer before.
    pub(super) fn note(&self, server_time: Timestamp, now: Timestamp) -> Option<Jump> {
        let expected = self.known_at(now);
        let ahead = server_time.duration_since(now);
        let told = self.0.lock().replace(Told { server_time, ahead, up_at: server_time });
        let since = told?.server_time;
        (server_time.duration_since(expected?) > STEP).then_some(Jump { since })
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

    /// Like [`Self::known_at`], for a note that the runner is up. `None` too if more than two hours have passed since
    /// the last one, and mana-auth will tell its time before long (`is_asking`): if the daemon's clock was put forward,
    /// a time that is too late would be the newest of all facts.
    pub(super) fn up_at(&self, now: Timestamp, is_asking: bool) -> Option<Timestamp> {
        let at = self.known_at(now)?;
        let mut told = self.0.lock();
        let told = told.as_mut()?;
        if is_asking && at.duration_since(told.up_at) > STEP {
            return None;
        }
        told.up_at = at.max(told.up_at);
        Some(at)
    }

    /// A time that mana-auth's clock has certainly passed when the daemon's clock shows `now`: what mana-auth has last
    /// told, or a later time that follows from the daemon's clock. If mana-auth will tell its time before long
    /// (`is_asking`), two hours are taken off that, because the daemon's clock may have been put forward as far without
    /// notice; and `None` if it was put forward farther, or the runner was down.
    pub(super) fn passed(&self, now: Timestamp, is_asking: bool) -> Option<Timestamp> {
        let at = self.known_at(now)?;
        let Told { server_time, up_at, .. } = (*self.0.lock())?;
        let follows = match is_asking {
            false => at,
            true if at.duration_since(up_at) > STEP => return None,
            true => at.checked_sub(STEP).unwrap_or(Timestamp::MIN),
        };
        Some(server_time.max(follows))
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
    fn after_the_clock_was_put_forward_nobody_is_up_before_the_next_answer() {
        let server: Timestamp = "2026-11-20T08:00:00Z".parse().unwrap();
        let at = |hours| server + SignedDuration::from_hours(hours);
        let time = ServerTime::of_last_tick(Some((server, server)));
        assert_eq!(time.up_at(at(3), true), None);
        // Each note is the begin of another two hours.
        for hour in [2, 4] {
            assert_eq!(time.up_at(at(hour), true), Some(at(hour)));
        }
        assert_eq!(time.up_at(at(9), false), Some(at(9)), "nobody will tell the time");
        assert_eq!(time.note(server, at(99)), None);
        assert_eq!(time.up_at(at(99), true), Some(server));
        assert_eq!(time.note(at(3), at(100)), None, "an hour more than has elapsed");
        assert_eq!(time.note(at(7), at(101)), Some(Jump { since: at(3) }));
    }

    #[test]
    fn a_clock_that_was_put_forward_makes_no_time_pass_where_mana_auth_will_tell_it() {
        let server: Timestamp = "2026-11-20T08:00:00Z".parse().unwrap();
        let at = |hours| server + SignedDuration::from_hours(hours);
        assert_eq!(ServerTime::default().passed(server, false), None);
        let time = ServerTime::of_last_tick(Some((server, server)));
        for (hours, asking, not_asking) in
            [(-5, Some(0), 0), (1, Some(0), 1), (2, Some(0), 2), (3, None, 3), (99, None, 99)]
        {
            assert_eq!(time.passed(at(hours), true), asking.map(at), "{hours}");
            assert_eq!(time.passed(at(hours), false), Some(at(not_asking)), "{hours}");
        }
        for hours in 1..=6 {
            time.up_at(at(hours), true);
        }
        assert_eq!(time.passed(at(7), true), Some(at(5)), "mana-auth is away, and time goes on");
        time.note(at(7), at(7));
        assert_eq!(time.passed(at(7), true), Some(at(7)));
    }

    #[test]
    fn two_clocks_that_are_far_apart_do_not_overflow() {
        let time = ServerTime::default();
        for (server, daemon) in [(Timestamp::MAX, Timestamp::MIN), (Timestamp::MIN, Timestamp::MAX)]
        {
            time.note(server, daemon);
            assert_eq!(time.at(Timestamp::UNIX_EPOCH), server);
            assert_eq!(time.passed(Timestamp::UNIX_EPOCH, false), Some(server));
        }
    }
}
