//! The rate limit of the service, one for the whole process: a 429 to one caller holds back all callers.

use std::time::Duration;

use http::HeaderMap;
use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    clock::Clock,
    http::{Gate, retry_after, text_of, time_of},
};

/// The pause after a 429 that names no pause.
const DEFAULT: Duration = Duration::from_secs(60);
/// The longest pause after a 429, whatever the 429 says.
const LONGEST: Duration = Duration::from_secs(600);
/// The shortest pause after a 429. It is doubled with each further 429 that directly follows a pause, up to
/// [`DEFAULT`]. Without it, a peer's clock that is behind or a pause of zero would cause requests
/// without end.
const SHORTEST: Duration = Duration::from_secs(1);
/// Time between requests that waited. They are not all sent at once when the limit is over.
const SPACING: Duration = Duration::from_millis(100);
/// In a reset header, a number up to this one is seconds to wait. Up to [`LARGEST_SECONDS`] it is Unix
/// seconds, and above that Unix milliseconds.
const LARGEST_DELTA: f64 = 1e8;
const LARGEST_SECONDS: f64 = 1e11;

/// Lets requests through at once until one is answered with 429. From then on requests wait until the limit
/// is over, and then go one after the other, without waiting for each other's answers.
#[derive(Debug)]
pub(super) struct RateLimit {
    clock: Clock,
    gate: Gate,
    /// Number of limits in a row since a request was last answered with anything but 429.
    in_a_row: Mutex<u32>,
}

impl RateLimit {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, gate: Gate::new(usize::MAX, SPACING), in_a_row: Mutex::default() }
    }

    /// Waits until the caller may send.
    ///
    /// # Errors
    /// If the limit is over only after `latest`: at once, with the time when it is over.
    pub(super) async fn pass(&self, latest: Instant) -> Result<(), Timestamp> {
        self.gate.enter(latest, || None, |opens| self.as_time(opens)).await.map(drop)
    }

    /// When the limit is over; `None` if requests may be sent now.
    pub(super) fn over_at(&self) -> Option<Timestamp> {
        self.gate.opens().map(|opens| self.as_time(opens))
    }

    /// Notes a 429 with these headers, and holds back all requests.
    pub(super) fn note_limit(&self, headers: &HeaderMap) {
        let asked = retry_after(headers).or_else(|| until_reset(headers, &self.clock));
        let mut in_a_row = self.in_a_row.lock();
        // Requests that were in flight together meet the same limit, so only the first of them counts.
        let is_first = self.over_at().is_none();
        *in_a_row += u32::from(is_first);
        let shortest = SHORTEST * 2u32.saturating_pow(in_a_row.max(1) - 1);
        self.gate.hold(asked.unwrap_or(DEFAULT).clamp(shortest.min(DEFAULT), LONGEST));
        if let Some(until) = self.over_at().filter(|_| is_first) {
            tracing::info!(%until, "the personas endpoint has a rate limit; nobody asks it before");
        }
    }

    /// Notes any other answer than a 429.
    pub(super) fn note_passed(&self) {
        *self.in_a_row.lock() = 0;
    }

    /// `at` as a time, rounded up to whole seconds. Whole seconds are easier to read, and a request at that
    /// time is not too early.
    fn as_time(&self, at: Instant) -> Timestamp {
        let wait = at.saturating_duration_since(Instant::now());
        let up = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Ceil);
        let time = self.clock.now().checked_add(wait).and_then(|time| time.round(up));
        time.unwrap_or(Timestamp::MAX)
    }
}

/// How long until the limit is reset, by the peer's clock if the answer shows it. `None` if no header can be
/// read.
fn until_reset(headers: &HeaderMap, clock: &Clock) -> Option<Duration> {
    let number = |name| text_of(headers, name)?.parse().ok().filter(|number: &f64| *number >= 0.0);
    let reset = number("ratelimit-reset").or_else(|| number("x-ratelimit-reset"))?;
    // In whole seconds, because the headers are in whole seconds.
    let now = time_of(headers, "date").unwrap_or_else(|| clock.now()).as_second() as f64;
    let wait = match reset {
        delta if delta <= LARGEST_DELTA => delta,
        seconds if seconds <= LARGEST_SECONDS => seconds - now,
        millis => millis / 1_000.0 - now,
    };
    Some(Duration::from_secs_f64(wait.clamp(0.0, LONGEST.as_secs_f64())))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const NOW: i64 = 1_795_262_400;
    const SECOND: Duration = Duration::from_secs(1);

    fn limit() -> RateLimit {
        RateLimit::new(Clock::manual(Timestamp::from_second(NOW).unwrap()))
    }

    fn headers(all: &[(&str, &str)]) -> HeaderMap {
        let header = |(name, value): &(&str, &str)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        };
        all.iter().map(header).collect()
    }

    /// Seconds that a gate stays closed after a 429 with these headers.
    async fn pause(all: &[(&str, &str)]) -> u64 {
        let (gate, start) = (limit(), Instant::now());
        gate.note_limit(&headers(all));
        gate.pass(start + Duration::from_secs(86_400)).await.unwrap();
        start.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_is_waited_out_until_its_reset_in_every_spelling() {
        let in_a_while = (NOW + 42).to_string();
        let in_an_hour = (NOW + 3_600).to_string();
        let past = (NOW - 90).to_string();
        let millis = format!("{in_a_while}000");
        let reset = "x-ratelimit-reset";
        let cases: [(&[(&str, &str)], u64); 17] = [
            (&[(reset, &in_a_while)], 42),
            (&[(reset, &millis)], 42),
            (&[(reset, "17")], 17),
            (&[("ratelimit-reset", "23")], 23),
            (&[("ratelimit-reset", &in_a_while)], 42),
            (&[("retry-after", "7"), (reset, &in_a_while)], 7),
            (&[("retry-after", "0"), (reset, &in_a_while)], 42),
            (&[], 60),
            (&[(reset, "soon")], 60),
            (&[(reset, "")], 60),
            (&[(reset, "NaN")], 60),
            (&[(reset, "-5")], 60),
            (&[("ratelimit-reset", "?"), (reset, "9")], 9),
            (&[(reset, "inf")], 600),
            (&[(reset, &in_an_hour)], 600),
            (&[("retry-after", "86400")], 600),
            (&[(reset, &past)], 1),
        ];
        for (said, seconds) in cases {
            assert_eq!(pause(said).await, seconds, "{said:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reset_is_a_time_of_the_peers_clock_where_the_answer_shows_it() {
        // The peer is an hour ahead of this machine.
        let date = Timestamp::from_second(NOW + 3_600).unwrap();
        let date = jiff::fmt::rfc2822::to_string(&date.to_zoned(jiff::tz::TimeZone::UTC)).unwrap();
        let reset = (NOW + 3_630).to_string();
        assert_eq!(pause(&[("date", &date), ("x-ratelimit-reset", &reset)]).await, 30);
        assert_eq!(pause(&[("date", "today"), ("x-ratelimit-reset", &reset)]).await, 600);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_would_wait_too_long_gets_the_end_of_the_limit_at_once() {
        let (gate, start) = (limit(), Instant::now());
        assert_eq!(gate.over_at(), None);
        gate.note_limit(&headers(&[("retry-after", "30")]));
        let until = Timestamp::from_second(NOW + 30).unwrap();
        assert_eq!(gate.pass(start + 29 * SECOND).await, Err(until));
        assert_eq!(gate.over_at(), Some(until));
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(gate.pass(start + 30 * SECOND).await, Ok(()));
        assert_eq!((start.elapsed(), gate.over_at()), (30 * SECOND, None));
    }

    #[tokio::test(start_paused = true)]
    async fn when_no_request_waits_any_more_all_go_at_once_again() {
        let (gate, start) = (limit(), Instant::now());
        gate.note_limit(&headers(&[("retry-after", "10")]));
        gate.pass(start + 60 * SECOND).await.unwrap();
        tokio::time::sleep(SECOND).await;
        for _ in 0..100 {
            assert_eq!(gate.pass(Instant::now()).await, Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_only_waits_behind_others_gets_no_error_for_a_limit_that_is_over() {
        let (gate, start) = (limit(), Instant::now());
        gate.note_limit(&headers(&[("retry-after", "10")]));
        let passed = async |patience| {
            gate.pass(start + patience).await.unwrap();
            start.elapsed()
        };
        let long = || passed(60 * SECOND);
        let soon = 10 * SECOND + SPACING / 2;
        let (_, _, _, impatient) = tokio::join!(long(), long(), long(), passed(soon));
        assert!(impatient <= soon, "{impatient:?}");
        assert_eq!(gate.pass(start).await, Ok(()), "even at the very end");
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_requests_go_one_after_the_other_and_wait_again_when_the_first_is_refused() {
        let (gate, start) = (limit(), Instant::now());
        gate.note_limit(&headers(&[("retry-after", "10")]));
        let latest = start + 60 * SECOND;
        let passed = async || {
            gate.pass(latest).await.unwrap();
            if start.elapsed() == 10 * SECOND {
                gate.note_limit(&headers(&[("retry-after", "20")]));
            }
            start.elapsed()
        };
        let (a, b, c) = tokio::join!(passed(), passed(), passed());
        let mut began = [a, b, c];
        began.sort();
        assert_eq!(began, [10 * SECOND, 30 * SECOND, 30 * SECOND + SPACING]);
    }

    #[tokio::test(start_paused = true)]
    async fn limits_in_a_row_make_pauses_longer_and_limits_met_together_count_once() {
        let gate = limit();
        let paused = async || {
            let start = Instant::now();
            for _ in 0..20 {
                gate.note_limit(&headers(&[("retry-after", "0.001")]));
            }
            gate.pass(start + 3_600 * SECOND).await.unwrap();
            start.elapsed().as_secs()
        };
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(paused().await, seconds);
        }
        gate.note_passed();
        assert_eq!(paused().await, 1);
    }
}
