//! The limit of file descriptors that the process may have open. Every connection uses one descriptor.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for the journal, the outbox, the log and the runtime, beside those of runs and HTTP clients.
const BASE: usize = 50;
/// Descriptors of one run: a connection to mana-mcp, and a connection to Claude or mana-auth.
const PER_RUN: usize = 2;

/// How many descriptors the process may have open at once: the current (soft) limit of the system.
pub fn limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| limit.try_into().ok()).unwrap_or(usize::MAX)
}

/// Raises the soft limit to the hard limit. The soft limit is often low for programs that use `select`; this
/// program does not use `select`.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!("the limit of open descriptors stays at {current:?}: {error}");
    }
}

/// Logs a warning if the limit is too low for `runs` runs at once and `clients` connections to the daemon's
/// server.
pub(crate) fn warn_if_few(runs: usize, clients: usize) {
    let (limit, needed) = (limit(), runs.saturating_mul(PER_RUN).saturating_add(clients + BASE));
    if needed > limit {
        tracing::warn!(
            limit,
            needed,
            "too few open descriptors are allowed for PERSONA_CONCURRENCY; requests may fail \
             (ulimit -n, LimitNOFILE, ulimits in compose)"
        );
    }
}
