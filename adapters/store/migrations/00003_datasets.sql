-- Labelled texts to train on; see adapters/datasets.

-- +goose Up

-- The file is the blob with the digest content, held by "dataset:" and the id. Mapping and
-- report are JSON.
CREATE TABLE datasets (
    id      TEXT PRIMARY KEY NOT NULL,
    name    TEXT   NOT NULL,
    format  TEXT   NOT NULL,
    content TEXT   NOT NULL,
    bytes   BIGINT NOT NULL,
    created BIGINT NOT NULL,
    mapping TEXT   NOT NULL,
    report  TEXT   NOT NULL
);

-- What callers say is right; number is the time, made to rise.
CREATE TABLE feedback (
    id        TEXT PRIMARY KEY NOT NULL,
    number    BIGINT NOT NULL UNIQUE,
    adapter   TEXT   NOT NULL,
    version   TEXT   NOT NULL,
    text      TEXT   NOT NULL,
    label     TEXT   NOT NULL,
    predicted TEXT   NOT NULL,
    source    TEXT   NOT NULL
);
CREATE INDEX feedback_by_adapter ON feedback (adapter, number);
