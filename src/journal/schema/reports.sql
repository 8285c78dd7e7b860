-- The reports of weeks, as they were written, and how far each was posted to the webhook. The files in the folder
-- `reports` are copies.
CREATE TABLE reports (
    -- The week of ISO 8601, such as 2026-W46.
    week TEXT NOT NULL PRIMARY KEY,
    -- de or en.
    language TEXT NOT NULL,
    -- mana-auth's time.
    written_at BIGINT NOT NULL,
    -- none, waiting, delivered or refused.
    post_state TEXT NOT NULL,
    -- As in `outbox`; the times are those of the daemon's clock.
    attempts BIGINT NOT NULL,
    tried_at BIGINT NOT NULL,
    next_try_at BIGINT NOT NULL,
    reason TEXT,
    -- Last, because a query that does not need the texts does not read them then.
    html TEXT NOT NULL,
    markdown TEXT NOT NULL,
    -- report/v1
    json TEXT NOT NULL
);

-- Runs that a report quotes: their steps are kept longer. The time is that of the daemon's clock.
CREATE TABLE pins (
    run_id TEXT NOT NULL PRIMARY KEY,
    pinned_at BIGINT NOT NULL
);
