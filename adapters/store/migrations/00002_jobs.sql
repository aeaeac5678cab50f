-- Training jobs; see adapters/jobs. Texts that may be absent are empty, and times 0. The
-- queue's own tables are not here: River makes them.

-- +goose Up

CREATE TABLE jobs (
    id              TEXT PRIMARY KEY NOT NULL,
    adapter         TEXT    NOT NULL,
    state           TEXT    NOT NULL,
    phase           TEXT    NOT NULL,
    waiting         TEXT    NOT NULL DEFAULT '',
    spec            TEXT    NOT NULL,
    data            TEXT    NOT NULL,
    base            TEXT    NOT NULL,
    hash            TEXT    NOT NULL,
    idempotency_key TEXT UNIQUE,
    plan            TEXT    NOT NULL DEFAULT '',
    progress        TEXT    NOT NULL DEFAULT '',
    metrics         TEXT    NOT NULL DEFAULT '',
    digest          TEXT    NOT NULL DEFAULT '',
    version         TEXT    NOT NULL DEFAULT '',
    activated       BOOLEAN NOT NULL DEFAULT FALSE,
    failure         TEXT    NOT NULL DEFAULT '',
    created         BIGINT  NOT NULL,
    started         BIGINT  NOT NULL DEFAULT 0,
    finished        BIGINT  NOT NULL DEFAULT 0,
    events          BIGINT  NOT NULL DEFAULT 0,
    checkpoint      BIGINT  NOT NULL DEFAULT 0,
    owner           TEXT    NOT NULL DEFAULT '',
    epoch           BIGINT  NOT NULL DEFAULT 0,
    beat            BIGINT  NOT NULL DEFAULT 0,
    segment         BIGINT  NOT NULL DEFAULT 0,
    entry           BIGINT  NOT NULL DEFAULT 0,
    attempts        BIGINT  NOT NULL DEFAULT 0,
    told_step       BIGINT  NOT NULL DEFAULT 0,
    told_epoch      BIGINT  NOT NULL DEFAULT 0,
    changes         BIGINT  NOT NULL DEFAULT 0
);
CREATE INDEX jobs_by_state ON jobs (state, finished);
CREATE INDEX jobs_by_creation ON jobs (created, id);

CREATE TABLE job_events (
    job      TEXT   NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    sequence BIGINT NOT NULL,
    created  BIGINT NOT NULL,
    kind     TEXT   NOT NULL,
    data     TEXT   NOT NULL,
    PRIMARY KEY (job, sequence)
);

-- The last two of each job, in case that one is damaged.
CREATE TABLE job_checkpoints (
    job    TEXT   NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    digest TEXT   NOT NULL,
    data   BYTEA  NOT NULL,
    PRIMARY KEY (job, number)
);

-- What came out and is still to be published.
CREATE TABLE job_results (
    job    TEXT PRIMARY KEY NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    digest TEXT  NOT NULL,
    data   BYTEA NOT NULL
);
