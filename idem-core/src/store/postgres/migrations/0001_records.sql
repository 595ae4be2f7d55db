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
