//! How many descriptors the process may have open; every connection takes one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the daemon needs besides its runs and its clients: the journal, the outbox, logs, the runtime.
const OWN: usize = 50;
/// What a run needs: a connection to mana-mcp and one to Claude or mana-auth.
const OF_A_RUN: usize = 2;

/// How many may be open at once.
pub fn limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| limit.try_into().ok()).unwrap_or(usize::MAX)
}

/// Raises the limit as far as the system lets the process. It often begins low for the sake of programs
/// that use `select`, which this one is not.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!("the limit of open descriptors stays at {current:?}: {error}");
    }
}

/// Says so where they will not do for so many runs at once and so many clients.
pub(crate) fn warn_if_few(runs: usize, clients: usize) {
    let (limit, needed) = (limit(), runs.saturating_mul(OF_A_RUN).saturating_add(clients + OWN));
    if needed > limit {
        tracing::warn!(
            limit,
            needed,
            "too few open descriptors are allowed for PERSONA_CONCURRENCY; requests may fail \
             (ulimit -n, LimitNOFILE, ulimits in compose)"
        );
    }
}
