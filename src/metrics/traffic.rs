//! Metrics of requests to the peers and to this daemon.

use std::time::Duration;

use super::{
    Metrics, REQUEST_BUCKETS, SessionRenewal,
    families::{Values, closed, families},
};

/// The peers, each with its operations.
const OPERATIONS_OF: &[(&str, &str)] = &[
    ("anthropic", "messages"),
    ("mana-auth", "login sign_in organization_list token vault_init"),
    (
        "mana-mcp",
        "initialize notification tools_list tools_call response resume_stream delete_session look",
    ),
    ("mana-personas", "fetch_due post_actions post_feedback"),
    ("product", "version"),
    ("webhook", "report"),
];
const ANSWERS: &str =
    "2xx 3xx 4xx 429 5xx 529 other unreachable timeout interrupted too_large unsendable";
const PEERS: Values = Values::Known(|| OPERATIONS_OF.iter().map(|(peer, _)| *peer).collect());
const OPERATIONS: Values = Values::Known(|| {
    OPERATIONS_OF.iter().flat_map(|(_, operations)| operations.split(' ')).collect()
});
const OUTCOMES: Values = Values::Known(|| ANSWERS.split(' ').collect());
const OWN_METHODS: &[&str] = &["GET", "POST", "HEAD", "OPTIONS"];
const METHODS: Values = Values::Known(|| [OWN_METHODS, &["other"]].concat());
const STATUSES: Values = Values::Bounded("the HTTP statuses the daemon answers with");
const ROUTES: Values = Values::Bounded("the routes of the daemon, `unmatched` for any other path");

families! { Traffic {
    /// Requests sent, by peer, operation and outcome (a status class or a kind of failure). Growth of
    /// anything but 2xx means that this peer is in trouble or refuses.
    client_requests: counter "http_client_requests_total" { peer: PEERS, operation: OPERATIONS, outcome: OUTCOMES };
    /// Duration of a request, answer included. It grows when the peer or the way to it is slow.
    client_duration: histogram "http_client_request_duration_seconds" { peer: PEERS, operation: OPERATIONS } REQUEST_BUCKETS;
    /// Requests that were sent again. Growth without failed runs means that a peer wavers.
    client_retries: counter "http_client_retries_total" { peer: PEERS, operation: OPERATIONS };
    /// MCP sessions opened in place of another one of the same run. lost grows when mana-mcp restarts,
    /// unauthorized when runs outlive their JWT.
    session_renewals: counter "mcp_sessions_renewed_total" { reason: closed::<SessionRenewal>() };
    /// Requests answered. Growth of unmatched means that somebody asks for what is not there.
    server_requests: counter "http_server_requests_total" { method: METHODS, route: ROUTES, status: STATUSES };
    /// Duration of an answered request. Of /health it grows when the process is starved.
    server_duration: histogram "http_server_request_duration_seconds" { method: METHODS, route: ROUTES } REQUEST_BUCKETS;
} }

impl Traffic {
    /// Creates the series of all operations with the value 0. Without them the first failure would be a new
    /// series and no increase.
    pub(super) fn create_children(&self) {
        for (peer, operations) in OPERATIONS_OF {
            for operation in operations.split(' ') {
                for outcome in ANSWERS.split(' ') {
                    self.client_requests.with_label_values(&[peer, operation, outcome]);
                }
                self.client_duration.with_label_values(&[peer, operation]);
                self.client_retries.with_label_values(&[peer, operation]);
            }
        }
    }
}

impl Metrics {
    /// Records the end of a request to a peer, with its outcome and its duration.
    pub(crate) fn record_client_request(
        &self,
        peer: &'static str,
        operation: &'static str,
        outcome: &'static str,
        took: Duration,
    ) {
        self.traffic.client_requests.with_label_values(&[peer, operation, outcome]).inc();
        let durations = self.traffic.client_duration.with_label_values(&[peer, operation]);
        durations.observe(took.as_secs_f64());
    }

    /// Records that a request to a peer is sent again.
    pub(crate) fn record_client_retry(&self, peer: &'static str, operation: &'static str) {
        self.traffic.client_retries.with_label_values(&[peer, operation]).inc();
    }

    /// Records that a run opened another MCP session.
    pub(crate) fn record_session_renewal(&self, reason: SessionRenewal) {
        self.traffic.session_renewals.with_label_values(&[reason.as_str()]).inc();
    }

    /// Records an answered request to this daemon.
    pub(crate) fn record_server_request(
        &self,
        method: &str,
        route: &str,
        status: u16,
        took: Duration,
    ) {
        let method = if OWN_METHODS.contains(&method) { method } else { "other" };
        self.traffic.server_requests.with_label_values(&[method, route, &status.to_string()]).inc();
        let durations = self.traffic.server_duration.with_label_values(&[method, route]);
        durations.observe(took.as_secs_f64());
    }
}
