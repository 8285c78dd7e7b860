use std::sync::Arc;

use http::StatusCode;

use super::*;

fn gate(most: usize) -> (Arc<Gate>, Clock) {
    let clock = Clock::manual(Timestamp::UNIX_EPOCH);
    (Arc::new(Gate::new(clock.clone(), most)), clock)
}

fn refused(status: u16, kind: &str) -> ClaudeError {
    ClaudeError::Refused {
        status: StatusCode::from_u16(status).unwrap(),
        kind: kind.into(),
        code: None,
        message: String::new(),
        again_after: Some(Duration::ZERO),
    }
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(k, v)| (http::HeaderName::from_static(k), v.parse().unwrap())).collect()
}

/// Seconds until `n` requests have passed, each of which ends at once.
async fn seconds_for(gate: &Gate, n: usize) -> u64 {
    let start = Instant::now();
    for _ in 0..n {
        drop(gate.enter(start + Duration::from_secs(3_600)).await.unwrap());
    }
    start.elapsed().as_secs()
}

/// How many requests can be in flight at once.
async fn width(gate: &Gate) -> usize {
    let mut passes = Vec::new();
    while let Ok(pass) = gate.enter(Instant::now()).await {
        passes.push(pass);
    }
    passes.len()
}

#[tokio::test(start_paused = true)]
async fn a_429_makes_everybody_wait_as_long_as_it_says() {
    let (gate, _) = gate(8);
    gate.note_refusal(&refused(429, "rate_limit_error"), &headers(&[("retry-after", "7")]));
    let others = [seconds_for(&gate, 1), seconds_for(&gate, 1), seconds_for(&gate, 1)];
    for waited in [others].into_iter().flatten() {
        assert!((0..=7).contains(&waited.await));
    }
    gate.note_refusal(&refused(429, "rate_limit_error"), &headers(&[("retry-after", "7")]));
    assert_eq!(seconds_for(&gate, 1).await, 7);
}

#[tokio::test(start_paused = true)]
async fn a_wait_beyond_the_deadline_does_not_begin() {
    let (gate, _) = gate(8);
    gate.note_refusal(&refused(429, "rate_limit_error"), &headers(&[("retry-after", "50")]));
    let start = Instant::now();
    let error = gate.enter(start + Duration::from_secs(49)).await.unwrap_err();
    assert!(matches!(error, ClaudeError::WaitedEnough));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn concurrency_halves_on_429_and_529_and_recovers_step_by_step_up_to_its_maximum() {
    let (gate, _) = gate(8);
    assert_eq!(width(&gate).await, 8);
    gate.note_refusal(&refused(529, "overloaded_error"), &HeaderMap::new());
    assert_eq!(width(&gate).await, 4);
    gate.note_refusal(&refused(529, "overloaded_error"), &HeaderMap::new());
    assert_eq!(width(&gate).await, 2);
    for _ in 0..5 {
        gate.note_refusal(&refused(529, "overloaded_error"), &HeaderMap::new());
    }
    assert_eq!(width(&gate).await, 1);
    let mut widths = Vec::new();
    for _ in 0..60 {
        gate.note_reply(&HeaderMap::new(), 0);
        widths.push(width(&gate).await);
    }
    assert!(widths.is_sorted() && widths.windows(2).all(|pair| pair[1] - pair[0] <= 1));
    assert_eq!(widths.last(), Some(&8));
}

#[tokio::test(start_paused = true)]
async fn headers_slow_the_fleet_before_the_limit_is_hit() {
    let reset = "1970-01-01T00:00:12Z";
    for (kind, remaining, uncached, waited) in [
        ("requests", "0", 0, 12),
        ("requests", "1", 0, 0),
        ("input-tokens", "4999", 5_000, 12),
        ("input-tokens", "5000", 5_000, 0),
        ("output-tokens", "0", 0, 12),
    ] {
        let (gate, _) = gate(4);
        let mut map = HeaderMap::new();
        let name = |what: &str| {
            http::HeaderName::try_from(format!("anthropic-ratelimit-{kind}-{what}")).unwrap()
        };
        map.insert(name("remaining"), remaining.parse().unwrap());
        map.insert(name("reset"), reset.parse().unwrap());
        gate.note_reply(&map, uncached);
        assert_eq!(seconds_for(&gate, 1).await, waited, "{kind} {remaining}");
    }
}

#[tokio::test(start_paused = true)]
async fn nonsense_in_headers_is_ignored_and_no_pause_exceeds_a_minute() {
    let now = Timestamp::UNIX_EPOCH;
    let map = |remaining: &str, reset: &str| {
        headers(&[
            ("anthropic-ratelimit-requests-remaining", remaining),
            ("anthropic-ratelimit-requests-reset", reset),
        ])
    };
    assert_eq!(exhausted(&map("0", "soon"), 0, now), None);
    assert_eq!(exhausted(&map("-1", "1970-01-01T00:00:12Z"), 0, now), None);
    assert_eq!(exhausted(&map("0", "1969-01-01T00:00:00Z"), 0, now), None);
    assert_eq!(exhausted(&map("0", "2099-01-01T00:00:00Z"), 0, now), Some(LONGEST_PAUSE));
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_does_not_pass_with_time_stops_all_requests_until_a_probe_succeeds() {
    let (gate, clock) = gate(4);
    gate.note_refusal(&refused(401, "authentication_error"), &HeaderMap::new());
    let stopped = gate.enter(Instant::now() + Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(stopped, ClaudeError::Stopped { .. }));
    assert!(gate.stopped().unwrap().contains("401"));
    assert!(matches!(gate.admit(), Admission::Stopped(_)));
    clock.advance(Duration::from_secs(600));
    assert_eq!(gate.admit(), Admission::Probe);
    drop(gate.enter(Instant::now() + Duration::from_secs(1)).await.unwrap());
    gate.note_reply(&HeaderMap::new(), 0);
    assert_eq!((gate.admit(), gate.stopped()), (Admission::Open, None));
}

#[test]
fn three_runs_in_a_row_that_are_refused_at_once_stop_all_requests() {
    let (gate, _) = gate(4);
    let error = refused(400, "invalid_request_error");
    gate.note_run(&error);
    gate.note_run(&error);
    gate.note_reply(&HeaderMap::new(), 0);
    gate.note_run(&error);
    gate.note_run(&error);
    assert_eq!(gate.stopped(), None);
    gate.note_run(&error);
    assert!(gate.stopped().unwrap().contains("400"));
}

#[test]
fn one_probe_that_is_refused_at_once_postpones_the_next_probe() {
    let (gate, clock) = gate(4);
    let error = refused(400, "invalid_request_error");
    (0..3).for_each(|_| gate.note_run(&error));
    clock.advance(Duration::from_secs(600));
    assert_eq!(gate.admit(), Admission::Probe);
    gate.note_run(&error);
    gate.end_probe();
    clock.advance(Duration::from_secs(1_199));
    assert!(matches!(gate.admit(), Admission::Stopped(_)), "twice as long");
    clock.advance(Duration::from_secs(1));
    assert_eq!(gate.admit(), Admission::Probe);
}

#[test]
fn a_probe_that_is_refused_at_once_says_nothing_about_a_refused_key() {
    let (gate, clock) = gate(4);
    gate.note_refusal(&refused(401, "authentication_error"), &HeaderMap::new());
    clock.advance(Duration::from_secs(600));
    assert_eq!(gate.admit(), Admission::Probe);
    gate.note_run(&refused(400, "invalid_request_error"));
    gate.end_probe();
    assert_eq!(gate.admit(), Admission::Probe, "somebody else's turn");
}

/// A gate that a refusal with this status and type has closed.
fn closed_by(status: u16, kind: &str) -> (Arc<Gate>, Clock) {
    let (gate, clock) = gate(4);
    gate.note_refusal(&refused(status, kind), &HeaderMap::new());
    (gate, clock)
}

#[test]
fn probes_come_after_ten_minutes_doubling_to_an_hour() {
    let (gate, clock) = closed_by(401, "authentication_error");
    for minutes in [10, 20, 40, 60, 60] {
        clock.advance(Duration::from_secs(minutes * 60 - 1));
        assert!(matches!(gate.admit(), Admission::Stopped(_)));
        clock.advance(Duration::from_secs(1));
        assert_eq!(gate.admit(), Admission::Probe);
        assert!(matches!(gate.admit(), Admission::Stopped(_)), "one at a time");
        gate.note_refusal(&refused(401, "authentication_error"), &HeaderMap::new());
    }
}

#[test]
fn a_clock_that_is_set_back_does_not_postpone_the_probe() {
    let (gate, clock) = closed_by(401, "authentication_error");
    clock.set(Timestamp::UNIX_EPOCH - Duration::from_secs(86_400));
    assert_eq!(gate.admit(), Admission::Probe);
}

#[test]
fn a_probe_that_asked_nothing_is_given_out_again() {
    let (gate, clock) = closed_by(402, "billing_error");
    clock.advance(FIRST_WAIT);
    assert_eq!(gate.admit(), Admission::Probe);
    gate.end_probe();
    assert_eq!(gate.admit(), Admission::Probe);
}

#[test]
fn a_request_in_flight_does_not_postpone_the_probe() {
    let (gate, clock) = closed_by(403, "permission_error");
    clock.advance(FIRST_WAIT / 2);
    gate.note_refusal(&refused(403, "permission_error"), &HeaderMap::new());
    clock.advance(FIRST_WAIT / 2);
    assert_eq!(gate.admit(), Admission::Probe);
}
