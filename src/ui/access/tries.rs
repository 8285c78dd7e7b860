//! How often a wrong key may be tried. Nobody guesses a long random key, but people make up others.

use std::{
    collections::VecDeque,
    mem,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long a wrong try counts.
const MINUTE: Duration = Duration::from_secs(60);
/// How many wrong tries in a minute one address has.
const OF_ONE: usize = 5;
/// How many wrong tries in a minute all addresses have together.
const OF_ALL: usize = 60;

/// What a try was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ui) enum Try {
    Right,
    Wrong,
    /// It does not count, whatever the key is. After this time another one does.
    TooMany(Duration),
}

/// The wrong tries of the last minute.
#[derive(Debug, Default)]
pub(super) struct Tries(Mutex<Wrong>);

#[derive(Debug, Default)]
struct Wrong {
    /// The oldest first. There are never more than [`OF_ALL`].
    last: VecDeque<(Instant, IpAddr)>,
    /// When the log last told of wrong tries.
    told: Option<Instant>,
    /// How many it has not told of since then.
    untold: u64,
}

impl Tries {
    /// Notes a try from this address. A try beyond the limits does not count, so a limit ends while tries go on.
    pub(super) fn note(&self, caller: IpAddr, is_right: bool) -> Try {
        let (now, origin) = (Instant::now(), origin(caller));
        let mut wrong = self.0.lock();
        let outcome = wrong.outcome(now, origin, is_right);
        if outcome == Try::Wrong {
            wrong.last.push_back((now, origin));
        }
        if outcome != Try::Right {
            wrong.tell(now, caller);
        }
        outcome
    }
}

impl Wrong {
    fn outcome(&mut self, now: Instant, origin: IpAddr, is_right: bool) -> Try {
        let wait = |since: Instant| (since + MINUTE).saturating_duration_since(now);
        while self.last.front().is_some_and(|(at, _)| wait(*at).is_zero()) {
            self.last.pop_front();
        }
        // While the oldest of these tries counts, a further one is too many.
        let of_all = (self.last.len() >= OF_ALL).then(|| self.last.front()).flatten();
        let own = self.last.iter().rev().filter(|(_, known)| *known == origin).nth(OF_ONE - 1);
        match of_all.into_iter().chain(own).map(|(at, _)| wait(*at)).max() {
            Some(wait) => Try::TooMany(wait),
            None if is_right => Try::Right,
            None => Try::Wrong,
        }
    }

    /// Warns of wrong tries once a minute at most.
    fn tell(&mut self, now: Instant, caller: IpAddr) {
        if self.told.is_some_and(|at| now.duration_since(at) < MINUTE) {
            self.untold += 1;
            return;
        }
        self.told = Some(now);
        let not_told = mem::take(&mut self.untold);
        tracing::warn!(
            %caller,
            not_told,
            "a wrong key was given for /ui; such tries are told once a minute"
        );
    }
}

/// What counts as one address. A machine usually has all the 2^64 addresses of an IPv6 network of 64 bits.
fn origin(caller: IpAddr) -> IpAddr {
    match caller.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_has_five_wrong_tries_a_minute_and_then_a_right_key_waits_too() {
        let tries = Tries::default();
        let (anna, ben) = (ip("10.0.0.1"), ip("10.0.0.2"));
        for _ in 0..5 {
            assert_eq!(tries.note(anna, true), Try::Right);
            assert_eq!(tries.note(anna, false), Try::Wrong);
            advance(seconds(1)).await;
        }
        for is_right in [true, false, true] {
            assert_eq!(tries.note(anna, is_right), Try::TooMany(seconds(55)));
        }
        assert_eq!(tries.note(ben, true), Try::Right);
        advance(seconds(54)).await;
        assert_eq!(tries.note(anna, true), Try::TooMany(seconds(1)));
        advance(seconds(1)).await;
        assert_eq!(tries.note(anna, true), Try::Right);
        assert_eq!(tries.note(anna, false), Try::Wrong, "the first try has ended");
        assert_eq!(tries.note(anna, true), Try::TooMany(seconds(1)), "until the second has");
        advance(seconds(59)).await;
        assert_eq!(tries.note(anna, true), Try::Right);
        advance(seconds(10_000)).await;
        for _ in 0..5 {
            assert_eq!(tries.note(anna, false), Try::Wrong);
        }
        assert_eq!(tries.note(anna, true), Try::TooMany(seconds(60)));
    }

    #[tokio::test(start_paused = true)]
    async fn all_addresses_together_have_sixty_and_no_more_are_kept() {
        let tries = Tries::default();
        for n in 0..60 {
            assert_eq!(tries.note(ip(&format!("10.0.1.{n}")), false), Try::Wrong);
            advance(Duration::from_millis(500)).await;
        }
        for n in 0..1_000_u32 {
            let caller = IpAddr::from((0x0a01_0000 + n).to_be_bytes());
            assert_eq!(tries.note(caller, n % 2 == 0), Try::TooMany(seconds(30)));
        }
        assert_eq!(tries.0.lock().last.len(), 60);
        advance(seconds(30)).await;
        assert_eq!(tries.note(ip("10.1.0.1"), true), Try::Right);
        advance(seconds(30)).await;
        assert_eq!(tries.note(ip("10.1.0.1"), true), Try::Right);
        assert!(tries.0.lock().last.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_of_ipv6_counts_as_one_address_and_a_mapped_ipv4_address_as_itself() {
        let tries = Tries::default();
        for n in 1..=5 {
            assert_eq!(tries.note(ip(&format!("2001:db8:0:7:{n}::{n}")), false), Try::Wrong);
            assert_eq!(tries.note(ip(&format!("::ffff:10.0.0.{n}")), false), Try::Wrong);
        }
        assert_eq!(tries.note(ip("2001:db8:0:7::9"), true), Try::TooMany(seconds(60)));
        assert_eq!(tries.note(ip("2001:db8:0:8::9"), true), Try::Right);
        for _ in 0..4 {
            assert_eq!(tries.note(ip("10.0.0.1"), false), Try::Wrong);
        }
        assert_eq!(tries.note(ip("10.0.0.1"), true), Try::TooMany(seconds(60)));
        assert_eq!(tries.note(ip("::ffff:10.0.0.1"), true), Try::TooMany(seconds(60)));
        assert_eq!(tries.note(ip("10.0.0.2"), true), Try::Right);
    }

    #[tokio::test(start_paused = true)]
    async fn the_log_tells_of_wrong_tries_once_a_minute_with_the_number_of_others() {
        let (tries, caller) = (Tries::default(), ip("10.0.0.1"));
        let untold = || tries.0.lock().untold;
        for expected in [0, 1, 2, 3, 4, 5, 6] {
            tries.note(caller, false);
            assert_eq!(untold(), expected);
        }
        tries.note(ip("10.0.0.2"), true);
        assert_eq!(untold(), 6, "a right try is nothing to tell of");
        advance(seconds(60)).await;
        tries.note(caller, false);
        assert_eq!(untold(), 0);
    }
}
