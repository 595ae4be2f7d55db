-- idem's tables, version 1, for PostgreSQL 12 or later. Times are µs since 1970 by the server's clock.

CREATE TABLE "idem_records" (
    fence       bigint   NOT NULL,  -- the number of the last claim
    lease_end   bigint   NOT NULL,
    expires_at  bigint   NOT NULL,  -- from then on the record counts as absent
    attempts    integer  NOT NULL,  -- runs that failed and were counted
    version     smallint NOT NULL,  -- of the record
    state       smallint NOT NULL,  -- 1 in progress, 2 completed, 3 released
    key         bytea    NOT NULL PRIMARY KEY,
    token       bytea    NOT NULL,  -- who claimed it last
    member      bytea    NOT NULL,  -- the process that claimed it last
    doubt       bytea,              -- a run that ended without an answer: cause, fence, attempt, member
    last        bytea,              -- the last run that did not complete it: outcome, length, error
    fingerprint bytea,              -- of the payload, where the handler asks for it
    message     bytea,              -- the message that it was claimed for last
    reply       bytea
) WITH (
    -- Room for a record's next version on its own page: a completion then needs no new entry in the index.
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05
);

-- Few records are in doubt, and people ask for them.
CREATE INDEX ON "idem_records" (key) WHERE doubt IS NOT NULL;

-- What is not of one key: the version of this schema, an epoch that an operator raises after a restore, and who purges
-- until when, and how far the purge has come.
CREATE TABLE "idem_records_meta" (
    name     varchar(16) NOT NULL PRIMARY KEY,
    value    bigint      NOT NULL,
    holder   bytea,
    position bytea
);

INSERT INTO "idem_records_meta" (name, value) VALUES
    ('schema', 1),
    ('epoch', (extract(epoch FROM clock_timestamp()) * 1000000)::bigint),
    ('purge', 0);

-- The processes that claim, and when they were seen first and last.
CREATE TABLE "idem_records_members" (
    id             bytea   NOT NULL PRIMARY KEY,  -- a record's member
    host           text    NOT NULL,
    process        bigint  NOT NULL,
    version        text    NOT NULL,  -- of idem
    consumer_group text    NOT NULL,
    started_at     bigint  NOT NULL,
    seen_at        bigint  NOT NULL,
    expires_at     bigint  NOT NULL
);

-- The decisions of people about records: an entry before each, and one behind it.
CREATE TABLE "idem_records_audit" (
    id         bigint NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    made_at    bigint NOT NULL,
    number     bigint NOT NULL,  -- equal in the two entries of a decision
    is_end     bigint NOT NULL,  -- 0 before it, 1 behind it
    who        text   NOT NULL,
    decision   text   NOT NULL,
    forced     bigint NOT NULL,
    record_key bytea  NOT NULL,
    said       text   NOT NULL   -- why; or how it ended
);
