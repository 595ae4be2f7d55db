-- idem's outbox, version 1, for PostgreSQL 12 or later. Times are µs since 1970 by the server's clock.

-- A row for each local transaction of a producer: its message as it was committed, or that it is rolled back.
CREATE TABLE "idem_outbox" (
    made_at     bigint   NOT NULL,
    due_at      bigint   NOT NULL,  -- when the message is sent again (state 1); when the row may be deleted (else)
    state       bigint   NOT NULL,  -- 0 at work, 1 committed and to be sent, 2 sent, 3 rolled back
    id          bytea    NOT NULL PRIMARY KEY,
    record_key  bytea    UNIQUE,    -- topic, tag and idempotency key, of what is not rolled back
    topic       text,
    tag         text,
    lookup_keys text,               -- by which brokers find the message
    order_by    text,               -- what chooses its message queue
    properties  bytea,              -- the others: each a name, byte 1, a value, byte 2
    body        bytea
) WITH (
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05
);

CREATE INDEX ON "idem_outbox" (state, due_at);

-- The version of this schema, the producer group that the outbox belongs to, and who sweeps until when.
CREATE TABLE "idem_outbox_meta" (
    name     varchar(16) NOT NULL PRIMARY KEY,
    value    bigint      NOT NULL,
    holder   bytea,
    position bytea
);

INSERT INTO "idem_outbox_meta" (name, value) VALUES ('schema', 1), ('owner', 0), ('purge', 0);
