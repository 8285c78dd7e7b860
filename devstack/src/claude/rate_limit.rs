//! The rate limits of the account: token buckets that fill continuously, and the headers that report their
//! levels (contract, section 7).

use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};

/// The account's limits, each per minute.
#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    /// Number of requests per minute.
    pub requests_per_minute: u64,
    /// Input tokens per minute that are not read from the cache.
    pub input_tokens_per_minute: u64,
    /// Number of output tokens per minute.
    pub output_tokens_per_minute: u64,
}

/// The headers of an account far below its limits: name, limit, remaining. Nothing is counted.
const GENEROUS: [(&str, u64, u64); 4] = [
    ("requests", 1_000, 999),
    ("tokens", 2_400_000, 2_400_000),
    ("input-tokens", 2_000_000, 2_000_000),
    ("output-tokens", 400_000, 400_000),
];
/// The remaining tokens are reported in thousands.
const ROUNDED_TO: u64 = 1_000;
/// One request or token, in the unit of [`Bucket::level`].
const ONE: i128 = 60_000_000_000;

/// A request that exceeds a limit.
#[derive(Debug)]
pub(super) struct Exceeded {
    /// Name of the exceeded limit.
    pub what: &'static str,
    /// The limit per minute.
    pub limit: u64,
    /// Seconds until the request would be admitted.
    pub retry_after_seconds: u64,
}

/// The state of an account's limits.
#[derive(Debug)]
pub(super) struct Limiter {
    requests: Bucket,
    input: Bucket,
    output: Bucket,
}

impl Limiter {
    /// Creates buckets that are full at `now`.
    pub(super) fn new(limit: RateLimit, now: Timestamp) -> Self {
        Self {
            requests: Bucket::full(limit.requests_per_minute, now),
            input: Bucket::full(limit.input_tokens_per_minute, now),
            output: Bucket::full(limit.output_tokens_per_minute, now),
        }
    }

    /// Admits one request with this many input tokens.
    ///
    /// # Errors
    /// The exceeded limit with the longest wait. The buckets are then unchanged.
    pub(super) fn admit(&mut self, input: u64, now: Timestamp) -> Result<(), Exceeded> {
        let needs = [
            ("requests", &mut self.requests, 1),
            ("input tokens", &mut self.input, input),
            // The length of the answer is not known yet, so one token is enough to begin.
            ("output tokens", &mut self.output, 1),
        ];
        let exceeded = needs.into_iter().filter_map(|(what, bucket, need)| {
            bucket.fill(now);
            let retry_after_seconds = bucket.seconds_until(need)?;
            Some(Exceeded { what, limit: bucket.limit, retry_after_seconds })
        });
        match exceeded.max_by_key(|exceeded| exceeded.retry_after_seconds) {
            Some(exceeded) => Err(exceeded),
            None => {
                self.requests.take(1);
                self.input.take(input);
                Ok(())
            }
        }
    }

    /// Takes the tokens of an answer, even if the bucket holds fewer.
    pub(super) fn spend_output(&mut self, tokens: u64, now: Timestamp) {
        self.output.fill(now);
        self.output.take(tokens);
    }

    fn headers(&mut self, now: Timestamp) -> Vec<(String, String)> {
        let (requests, input, output) = (&mut self.requests, &mut self.input, &mut self.output);
        for bucket in [&mut *requests, &mut *input, &mut *output] {
            bucket.fill(now);
        }
        let tightest = if input.is_tighter_than(output) { &*input } else { &*output };
        [
            ("requests", &*requests, 1),
            ("tokens", tightest, ROUNDED_TO),
            ("input-tokens", &*input, ROUNDED_TO),
            ("output-tokens", &*output, ROUNDED_TO),
        ]
        .into_iter()
        .flat_map(|(kind, bucket, round_to)| {
            let rounded = (bucket.remaining() + round_to / 2) / round_to * round_to;
            headers_of(kind, bucket.limit, rounded.min(bucket.limit), bucket.full_at(now))
        })
        .collect()
    }
}

/// The rate-limit headers of an answer. Without a limiter they have fixed values.
pub(super) fn headers(limiter: Option<&mut Limiter>, now: Timestamp) -> Vec<(String, String)> {
    match limiter {
        Some(limiter) => limiter.headers(now),
        None => GENEROUS
            .into_iter()
            .flat_map(|(kind, limit, remaining)| headers_of(kind, limit, remaining, now))
            .collect(),
    }
}

fn headers_of(kind: &str, limit: u64, remaining: u64, reset: Timestamp) -> [(String, String); 3] {
    // Rounded up to a whole second, so that the bucket is completely full at the reset time.
    let whole_second = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Ceil);
    let reset = reset.round(whole_second).unwrap_or(reset);
    let name = |what: &str| format!("anthropic-ratelimit-{kind}-{what}");
    [
        (name("limit"), limit.to_string()),
        (name("remaining"), remaining.to_string()),
        (name("reset"), reset.to_string()),
    ]
}

/// A token bucket that fills from empty to full in one minute.
#[derive(Debug)]
struct Bucket {
    /// Size of the bucket, and the amount that is added per minute.
    limit: u64,
    /// Current content in 60-billionths of a token: each nanosecond adds `limit` of them, so no rounding is
    /// needed. Negative after an answer that was longer than the remaining content.
    level: i128,
    filled: Timestamp,
}

impl Bucket {
    fn full(limit: u64, now: Timestamp) -> Self {
        // A bucket of size 0 would never fill, so waiting for it would never end.
        let limit = limit.max(1);
        Self { limit, level: i128::from(limit) * ONE, filled: now }
    }

    fn fill(&mut self, now: Timestamp) {
        // A clock that was set back removes nothing.
        let elapsed = now.duration_since(self.filled).as_nanos().max(0);
        self.level = (self.level + elapsed * i128::from(self.limit)).min(self.size());
        self.filled = now;
    }

    fn take(&mut self, n: u64) {
        self.level -= i128::from(n) * ONE;
    }

    /// Whole seconds until the bucket holds `need`; `None` if it holds that much now.
    fn seconds_until(&self, need: u64) -> Option<u64> {
        let missing = i128::from(need) * ONE - self.level;
        (missing > 0).then(|| {
            let nanos = self.nanos_for(missing);
            u64::try_from((nanos + 999_999_999) / 1_000_000_000).unwrap_or(u64::MAX)
        })
    }

    fn full_at(&self, now: Timestamp) -> Timestamp {
        let nanos = self.nanos_for(self.size() - self.level);
        let wait = i64::try_from(nanos).map_or(SignedDuration::MAX, SignedDuration::from_nanos);
        now.checked_add(wait).unwrap_or(Timestamp::MAX)
    }

    fn nanos_for(&self, missing: i128) -> i128 {
        let limit = i128::from(self.limit);
        (missing + limit - 1) / limit
    }

    fn remaining(&self) -> u64 {
        u64::try_from(self.level / ONE).unwrap_or_default()
    }

    /// Whether this bucket is emptier than `other`, relative to their sizes.
    fn is_tighter_than(&self, other: &Self) -> bool {
        self.level * other.size() < other.level * self.size()
    }

    fn size(&self) -> i128 {
        i128::from(self.limit) * ONE
    }
}
