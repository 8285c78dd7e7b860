//! The tables, as migrations in the order in which versions of this program added them.

use sqlx::{
    SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};

/// The number, the name and the SQL of each migration. A released migration never changes; a change of the tables is a
/// further entry.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "runs", RUNS),
    (2, "steps of requests sent once more", STEPS),
    (3, "facts", FACTS),
    (4, "reports", REPORTS),
];

const RUNS: &str = "
-- One run of one persona. Never deleted; `persona` is emptied with its steps.
CREATE TABLE runs (
    id TEXT NOT NULL PRIMARY KEY,
    persona_id TEXT NOT NULL,
    persona TEXT NOT NULL,
    slot TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    model TEXT NOT NULL,
    state TEXT NOT NULL,
    stage TEXT NOT NULL,
    spent BIGINT NOT NULL,
    replies BIGINT NOT NULL,
    calls BIGINT NOT NULL,
    call_errors BIGINT NOT NULL,
    ratings BIGINT NOT NULL,
    end_reason TEXT,
    started_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    ended_at BIGINT,
    held_since BIGINT,
    next_eligible_at BIGINT
);
CREATE INDEX runs_by_slot ON runs (slot, state);
CREATE INDEX runs_by_persona ON runs (persona_id, started_at);
CREATE INDEX runs_by_state ON runs (state, updated_at);
CREATE INDEX runs_by_start ON runs (started_at);

-- What happened in a run, append-only.
CREATE TABLE steps (
    run_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    at BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (run_id, number)
);

-- Tool lists that runs were begun with, by their hash.
CREATE TABLE catalogs (
    hash TEXT NOT NULL PRIMARY KEY,
    tools TEXT NOT NULL,
    used_at BIGINT NOT NULL
);

-- Posts to mana-auth, until it has confirmed them.
CREATE TABLE outbox (
    run_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    persona_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    row_count BIGINT NOT NULL,
    body TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    tried_at BIGINT NOT NULL,
    next_try_at BIGINT NOT NULL,
    is_dead BIGINT NOT NULL,
    reason TEXT,
    PRIMARY KEY (run_id, number)
);
CREATE INDEX outbox_by_next_try ON outbox (is_dead, next_try_at);

-- Money, in picodollars: spent and reserved, per scope (a persona or the fleet) and period.
CREATE TABLE ledger (
    scope TEXT NOT NULL,
    period TEXT NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (scope, period)
);

-- Paused and why; which budget is used up.
CREATE TABLE control (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL,
    at BIGINT NOT NULL
);
";

/// Changes no table. From this migration on, steps may have kinds that the previous version cannot read. That version
/// would close such a run; because of this entry it refuses the journal.
const STEPS: &str = "-- Kinds of steps: ToolLeftOut, AttachmentsReplaced";

const FACTS: &str = include_str!("schema/facts.sql");

const REPORTS: &str = include_str!("schema/reports.sql");

/// The number of the last migration that this version knows.
pub(super) const NEWEST: i64 = 4;

pub(super) fn migrator() -> Migrator {
    let migrations = MIGRATIONS.iter().map(|&(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.collect())
}
