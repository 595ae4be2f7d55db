-- idem's tables, version 1, for SQLite 3.41 or later. Times are µs since 1970 by the host's clock.

CREATE TABLE "idem_records" (
    key         BLOB    NOT NULL PRIMARY KEY,
    version     INTEGER NOT NULL,  -- of the record
    state       INTEGER NOT NULL,  -- 1 in progress, 2 completed, 3 released
    token       BLOB    NOT NULL,  -- who claimed it last
    fence       INTEGER NOT NULL,  -- the number of the last claim
    attempts    INTEGER NOT NULL,  -- runs that failed and were counted
    lease_end   INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,  -- from then on the record counts as absent
    member      BLOB    NOT NULL,  -- the process that claimed it last
    doubt       BLOB,              -- a run that ended without an answer: cause, fence, attempt, member
    last        BLOB,              -- the last run that did not complete it: outcome, length, error
    fingerprint BLOB,              -- of the payload, where the handler asks for it
    message     BLOB,              -- the message that it was claimed for last
    reply       BLOB
) STRICT, WITHOUT ROWID;

-- Few records are in doubt, and people ask for them.
CREATE INDEX "idem_records_doubt" ON "idem_records" (key) WHERE doubt IS NOT NULL;

-- What is not of one key: the version of this schema, an epoch that an operator raises after a restore, and who purges
-- until when, and how far the purge has come.
CREATE TABLE "idem_records_meta" (
    name     TEXT    NOT NULL PRIMARY KEY,
    value    INTEGER NOT NULL,
    holder   BLOB,
    position BLOB
) STRICT, WITHOUT ROWID;

INSERT INTO "idem_records_meta" (name, value) VALUES
    ('schema', 1),
    ('epoch', CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)),
    ('purge', 0);

-- The processes that claim, and when they were seen first and last.
CREATE TABLE "idem_records_members" (
    id             BLOB    NOT NULL PRIMARY KEY,  -- a record's member
    host           TEXT    NOT NULL,
    process        INTEGER NOT NULL,
    version        TEXT    NOT NULL,  -- of idem
    consumer_group TEXT    NOT NULL,
    started_at     INTEGER NOT NULL,
    seen_at        INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The decisions of people about records: an entry before each, and one behind it.
CREATE TABLE "idem_records_audit" (
    id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    made_at    INTEGER NOT NULL,
    number     INTEGER NOT NULL,  -- equal in the two entries of a decision
    is_end     INTEGER NOT NULL,  -- 0 before it, 1 behind it
    who        TEXT    NOT NULL,
    decision   TEXT    NOT NULL,
    forced     INTEGER NOT NULL,
    record_key BLOB    NOT NULL,
    said       TEXT    NOT NULL   -- why; or how it ended
) STRICT;
