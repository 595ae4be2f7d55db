-- idem's outbox, version 1, for SQLite 3.37 or later. Times are µs since 1970 by the host's clock.

-- A row for each local transaction of a producer: its message as it was committed, or that it is rolled back.
CREATE TABLE "idem_outbox" (
    id          BLOB    NOT NULL PRIMARY KEY,
    record_key  BLOB    UNIQUE,    -- topic, tag and idempotency key, of what is not rolled back
    state       INTEGER NOT NULL,  -- 0 at work, 1 committed and to be sent, 2 sent, 3 rolled back
    made_at     INTEGER NOT NULL,
    due_at      INTEGER NOT NULL,  -- when the message is sent again (state 1); when the row may be deleted (else)
    topic       TEXT,
    tag         TEXT,
    lookup_keys TEXT,              -- by which brokers find the message
    order_by    TEXT,              -- what chooses its message queue
    properties  BLOB,              -- the others: each a name, byte 1, a value, byte 2
    body        BLOB
) STRICT;

CREATE INDEX "idem_outbox_due" ON "idem_outbox" (state, due_at);

-- The version of this schema, the producer group that the outbox belongs to, and who sweeps until when.
CREATE TABLE "idem_outbox_meta" (
    name     TEXT    NOT NULL PRIMARY KEY,
    value    INTEGER NOT NULL,
    holder   BLOB,
    position BLOB
) STRICT, WITHOUT ROWID;

INSERT INTO "idem_outbox_meta" (name, value) VALUES ('schema', 1), ('owner', 0), ('purge', 0);
