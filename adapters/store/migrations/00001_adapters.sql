-- Both dialects read this file; see the package's documentation for the types.

-- +goose Up

-- The number of the last event. Its one row is what PostgreSQL locks for a change.
CREATE TABLE clock (
    id       BIGINT PRIMARY KEY NOT NULL CHECK (id = 1),
    sequence BIGINT NOT NULL
);
INSERT INTO clock (id, sequence) VALUES (1, 0);

CREATE TABLE events (
    sequence BIGINT PRIMARY KEY NOT NULL,
    created  BIGINT NOT NULL,
    adapter  TEXT   NOT NULL,
    kind     TEXT   NOT NULL,
    number   BIGINT NOT NULL
);

-- A blob without a digest is still being written; touched is the time of its last chunk.
CREATE TABLE blobs (
    id      TEXT PRIMARY KEY NOT NULL,
    digest  TEXT UNIQUE,
    bytes   BIGINT NOT NULL,
    touched BIGINT NOT NULL
);

CREATE TABLE blob_chunks (
    blob   TEXT   NOT NULL REFERENCES blobs (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    data   BYTEA  NOT NULL,
    PRIMARY KEY (blob, number)
);

CREATE TABLE blob_holds (
    holder TEXT NOT NULL,
    blob   TEXT NOT NULL REFERENCES blobs (id),
    PRIMARY KEY (holder, blob)
);
CREATE INDEX blob_holds_by_blob ON blob_holds (blob);

CREATE TABLE adapters (
    id       TEXT PRIMARY KEY NOT NULL,
    pinned   BOOLEAN NOT NULL,
    sequence BIGINT  NOT NULL
);

-- Every number that was ever given, for good: rows outlive their versions.
CREATE TABLE numbers (
    adapter TEXT   NOT NULL,
    number  BIGINT NOT NULL,
    digest  TEXT   NOT NULL,
    PRIMARY KEY (adapter, number)
);

CREATE TABLE versions (
    adapter    TEXT    NOT NULL REFERENCES adapters (id) ON DELETE CASCADE,
    number     BIGINT  NOT NULL,
    digest     TEXT    NOT NULL,
    base       TEXT    NOT NULL,
    source     TEXT    NOT NULL,
    origin     TEXT    NOT NULL,
    private    BOOLEAN NOT NULL,
    created    BIGINT  NOT NULL,
    sites      BIGINT  NOT NULL,
    parameters BIGINT  NOT NULL,
    PRIMARY KEY (adapter, number),
    UNIQUE (adapter, digest)
);

CREATE TABLE version_files (
    adapter TEXT   NOT NULL,
    number  BIGINT NOT NULL,
    name    TEXT   NOT NULL,
    blob    TEXT   NOT NULL REFERENCES blobs (id),
    PRIMARY KEY (adapter, number, name),
    FOREIGN KEY (adapter, number) REFERENCES versions (adapter, number) ON DELETE CASCADE
);
CREATE INDEX version_files_by_blob ON version_files (blob);

-- What was active, by the sequence of the event: the last row of an adapter is active
-- now, and those before it are where a rollback leads.
CREATE TABLE activations (
    adapter  TEXT   NOT NULL,
    sequence BIGINT NOT NULL,
    number   BIGINT NOT NULL,
    PRIMARY KEY (adapter, sequence),
    FOREIGN KEY (adapter, number) REFERENCES versions (adapter, number) ON DELETE CASCADE
);
CREATE INDEX activations_by_version ON activations (adapter, number);
