-- What runs have taught, for reports and for people with an SQLite tool. All times are mana-auth's, in milliseconds
-- since 1970 (UTC), except where a comment says otherwise. Flags are 0 or 1.

-- When the run began by mana-auth's time. The clock of the daemon is `started_at`; in `ended_at` and `updated_at` add
-- the difference.
ALTER TABLE runs ADD COLUMN server_at BIGINT NOT NULL DEFAULT 0;
-- The time that mana-auth gave with the list of due personas; the run's day is its date.
ALTER TABLE runs ADD COLUMN server_time BIGINT;
-- The current deployment when the run began, and when it ended: deployments.number.
ALTER TABLE runs ADD COLUMN deployment BIGINT;
ALTER TABLE runs ADD COLUMN deployment_end BIGINT;
ALTER TABLE runs ADD COLUMN effort TEXT;
-- The mode, and a hash of the policy's settings.
ALTER TABLE runs ADD COLUMN policy TEXT;
-- The version of this program.
ALTER TABLE runs ADD COLUMN runner TEXT;
-- A hash of the persona's system prompt.
ALTER TABLE runs ADD COLUMN prompt TEXT;
-- The tools that the run was offered: catalog_facts.id.
ALTER TABLE runs ADD COLUMN catalog TEXT;
-- done, turns, cost, stopped, login, space, session or failed.
ALTER TABLE runs ADD COLUMN outcome TEXT;
-- The version of the extractor that made the facts; 0 = there are none yet, -1 = there are none any more: they were
-- deleted as too old, or cannot be made.
ALTER TABLE runs ADD COLUMN facts BIGINT NOT NULL DEFAULT 0;
-- Whether the single calls are still there.
ALTER TABLE runs ADD COLUMN has_calls BIGINT NOT NULL DEFAULT 0;
-- Runs of earlier versions: only the clock of the daemon is known.
UPDATE runs SET server_at = started_at;

DROP INDEX runs_by_slot;
CREATE INDEX runs_by_slot ON runs (slot, persona_id, state);
-- The order in which missing facts are made.
CREATE INDEX runs_by_facts ON runs (facts, updated_at, id) WHERE persona <> ''
    AND state NOT IN ('running', 'rating_owed');
-- The order of an export.
CREATE INDEX runs_with_facts ON runs (server_at, id) WHERE facts > 0;
CREATE INDEX runs_with_calls ON runs (server_at, id) WHERE has_calls = 1;

-- Builds of the product, in the order in which the runner met them. In exports the id is D-<number>.
CREATE TABLE deployments (
    number BIGINT NOT NULL PRIMARY KEY,
    version TEXT NOT NULL,
    -- release, url, env or server-info.
    source TEXT NOT NULL,
    note TEXT,
    -- NULL: left by the command `release`, and not met by the daemon yet.
    first_at BIGINT,
    -- When the next deployment followed; NULL for the current one.
    last_at BIGINT
);

-- Who the personas are, also after the steps of their runs are gone.
CREATE TABLE personas (
    id TEXT NOT NULL PRIMARY KEY,
    -- The local part of the e-mail.
    label TEXT NOT NULL,
    archetype TEXT,
    cadence TEXT,
    -- The weights of the modules, as a JSON object.
    mix TEXT NOT NULL,
    first_at BIGINT NOT NULL,
    -- When the persona was last due or began a run, to the hour.
    last_at BIGINT NOT NULL
);

-- Why a due persona had no run in a slot. The absences of a pause and of a stop of the model follow from `halts`.
CREATE TABLE absences (
    slot TEXT NOT NULL,
    persona_id TEXT NOT NULL,
    why TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (slot, persona_id)
);

-- The hours in which the daemon was up.
CREATE TABLE ticks (
    -- The beginning of the hour.
    hour BIGINT NOT NULL PRIMARY KEY,
    -- The first tick of the hour, by mana-auth's time and by the clock of the daemon.
    at BIGINT NOT NULL,
    clock_at BIGINT NOT NULL
);

-- When nobody was called: kind is paused or model-stopped.
CREATE TABLE halts (
    kind TEXT NOT NULL,
    began_at BIGINT NOT NULL,
    -- NULL: not over.
    ended_at BIGINT,
    PRIMARY KEY (kind, began_at)
);

-- Lists of tools that runs were offered, as long as facts. `catalogs` has their schemas, as long as steps.
CREATE TABLE catalog_facts (
    id TEXT NOT NULL PRIMARY KEY,
    -- The offered tools with their hashes, and the names of hidden ones, as a JSON object.
    tools TEXT NOT NULL,
    first_at BIGINT NOT NULL
);

-- Tool calls.
CREATE TABLE calls (
    run_id TEXT NOT NULL,
    -- From 1.
    number BIGINT NOT NULL,
    at BIGINT NOT NULL,
    tool TEXT NOT NULL,
    module TEXT NOT NULL,
    ok BIGINT NOT NULL,
    cause TEXT,
    -- issues.id.
    issue TEXT,
    template TEXT,
    input_hash TEXT,
    -- Of the last try, in milliseconds.
    latency_ms BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    -- The size of the result before it was cut, in characters.
    chars BIGINT NOT NULL,
    cut BIGINT NOT NULL,
    limit_offered BIGINT NOT NULL,
    -- What the persona did after a failure, and its own words.
    next TEXT,
    quote TEXT,
    PRIMARY KEY (run_id, number)
);

-- Tools that runs used. Only calls that succeeded, or failed because of the product or the contract, count.
CREATE TABLE run_tools (
    run_id TEXT NOT NULL,
    tool TEXT NOT NULL,
    calls BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    dead_end BIGINT NOT NULL,
    recovered BIGINT NOT NULL,
    PRIMARY KEY (run_id, tool)
);

-- Modules that runs used or rated.
CREATE TABLE run_modules (
    run_id TEXT NOT NULL,
    module TEXT NOT NULL,
    rating BIGINT,
    grounded BIGINT NOT NULL,
    unrated_why TEXT,
    notes TEXT,
    -- The numbers of the calls that the rating names, as a JSON array.
    calls TEXT NOT NULL,
    reads BIGINT NOT NULL,
    writes BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    dead_end BIGINT NOT NULL,
    PRIMARY KEY (run_id, module)
);

-- Groups of failures with the same cause, tool and template.
CREATE TABLE issues (
    id TEXT NOT NULL PRIMARY KEY,
    fingerprint BIGINT NOT NULL,
    fingerprint_version BIGINT NOT NULL,
    cause TEXT NOT NULL,
    -- NULL: the cause does not depend on the tool.
    tool TEXT,
    template TEXT NOT NULL,
    -- The first failure.
    first_at BIGINT NOT NULL,
    first_run TEXT NOT NULL,
    first_call BIGINT NOT NULL,
    first_deployment BIGINT
);
CREATE UNIQUE INDEX issues_by_fingerprint ON issues (fingerprint);

-- Runs that had an issue.
CREATE TABLE issue_hits (
    run_id TEXT NOT NULL,
    issue TEXT NOT NULL,
    calls BIGINT NOT NULL,
    recovered BIGINT NOT NULL,
    -- The names of the tools that failed with the issue, as a JSON array.
    tools TEXT NOT NULL,
    PRIMARY KEY (run_id, issue)
);
CREATE INDEX hits_by_issue ON issue_hits (issue);

-- Issues that a person has muted.
CREATE TABLE mutes (
    issue TEXT NOT NULL PRIMARY KEY,
    muted_at BIGINT NOT NULL,
    muted_until BIGINT NOT NULL,
    reason TEXT NOT NULL
);
