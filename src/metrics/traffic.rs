//! Requests to the peers and to this daemon.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec};

use super::{
    Metrics, REQUEST_BUCKETS, SessionRenewal,
    families::{Families, Values, all},
};

/// What is asked of whom.
const OPERATIONS_OF: &[(&str, &[&str])] = &[
    ("anthropic", &["messages"]),
    ("mana-auth", &["login", "sign_in", "organization_list", "token", "vault_init"]),
    (
        "mana-mcp",
        &[
            "initialize",
            "notification",
            "tools_list",
            "tools_call",
            "response",
            "resume_stream",
            "delete_session",
            "look",
        ],
    ),
    ("mana-personas", &["fetch_due", "post_actions", "post_feedback"]),
];
const ANSWERS: &[&str] = &[
    "2xx",
    "3xx",
    "4xx",
    "429",
    "5xx",
    "529",
    "other",
    "unreachable",
    "timeout",
    "interrupted",
    "too_large",
    "unsendable",
];
const PEERS: Values = Values::Known(|| OPERATIONS_OF.iter().map(|(peer, _)| *peer).collect());
const OPERATIONS: Values = Values::Known(|| {
    OPERATIONS_OF.iter().flat_map(|(_, operations)| *operations).copied().collect()
});
const OUTCOMES: Values = Values::Known(|| ANSWERS.to_vec());
const METHODS: Values = Values::Known(|| vec!["GET", "POST", "HEAD", "OPTIONS", "other"]);
const ROUTES: Values = Values::Bounded("the routes of the daemon, `unmatched` for any other path");

#[derive(Debug)]
pub(super) struct Traffic {
    client_requests: IntCounterVec,
    client_duration: HistogramVec,
    client_retries: IntCounterVec,
    session_renewals: IntCounterVec,
    server_requests: IntCounterVec,
    server_duration: HistogramVec,
}

impl Traffic {
    pub(super) fn new(r: &mut Families) -> prometheus::Result<Self> {
        let traffic = Self {
            client_requests: r.counters(
                "http_client_requests_total",
                "Requests sent, by peer, operation and outcome (a status class or a kind of failure). \
                 Growth of anything but 2xx means that this peer is in trouble or refuses.",
                &[("peer", PEERS), ("operation", OPERATIONS), ("outcome", OUTCOMES)],
            )?,
            client_duration: r.histogram(
                "http_client_request_duration_seconds",
                "Duration of a request, answer included. It grows when the peer or the way to it is slow.",
                &[("peer", PEERS), ("operation", OPERATIONS)],
                REQUEST_BUCKETS,
            )?,
            client_retries: r.counters(
                "http_client_retries_total",
                "Requests that were sent again. Growth without failed runs means that a peer wavers.",
                &[("peer", PEERS), ("operation", OPERATIONS)],
            )?,
            session_renewals: r.counters(
                "mcp_sessions_renewed_total",
                "MCP sessions opened in place of another one of the same run. lost grows when mana-mcp \
                 restarts, unauthorized when runs outlive their JWT.",
                &[("reason", Values::Closed(all::<SessionRenewal>))],
            )?,
            server_requests: r.counters(
                "http_server_requests_total",
                "Requests answered. Growth of unmatched means that somebody asks for what is not there.",
                &[
                    ("method", METHODS),
                    ("route", ROUTES),
                    ("status", Values::Bounded("the HTTP statuses the daemon answers with")),
                ],
            )?,
            server_duration: r.histogram(
                "http_server_request_duration_seconds",
                "Duration of an answered request. Of /health it grows when the process is starved.",
                &[("method", METHODS), ("route", ROUTES)],
                REQUEST_BUCKETS,
            )?,
        };
        traffic.create_children();
        Ok(traffic)
    }

    /// A first failure has to be seen as an increase, so there is a zero before it.
    fn create_children(&self) {
        for (peer, operations) in OPERATIONS_OF {
            for operation in *operations {
                for outcome in ANSWERS {
                    self.client_requests.with_label_values(&[peer, operation, outcome]);
                }
                self.client_duration.with_label_values(&[peer, operation]);
                self.client_retries.with_label_values(&[peer, operation]);
            }
        }
    }
}

impl Metrics {
    /// A request to a peer ended with `outcome`.
    pub fn record_client_request(
        &self,
        peer: &'static str,
        operation: &'static str,
        outcome: &'static str,
        took: Duration,
    ) {
        self.traffic.client_requests.with_label_values(&[peer, operation, outcome]).inc();
        let duration = self.traffic.client_duration.with_label_values(&[peer, operation]);
        duration.observe(took.as_secs_f64());
    }

    /// A request to a peer is sent again.
    pub fn record_client_retry(&self, peer: &'static str, operation: &'static str) {
        self.traffic.client_retries.with_label_values(&[peer, operation]).inc();
    }

    /// A run opened another MCP session.
    pub fn record_session_renewal(&self, reason: SessionRenewal) {
        self.traffic.session_renewals.with_label_values(&[reason.as_str()]).inc();
    }

    /// A request to this daemon was answered.
    pub fn record_server_request(&self, method: &str, route: &str, status: u16, took: Duration) {
        let labels = [method, route, &status.to_string()];
        self.traffic.server_requests.with_label_values(&labels).inc();
        let duration = self.traffic.server_duration.with_label_values(&[method, route]);
        duration.observe(took.as_secs_f64());
    }
}
