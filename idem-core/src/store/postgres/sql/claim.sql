-- Keys in order, so that two batches wait for each other and never both.
WITH input AS (
    SELECT *, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint AS now
    FROM unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bytea[], $6::bytea[], $7::bytea[])
        AS i (key, token, lease, retention, fingerprint, member, message)
),
-- What nobody can claim now. An upsert would lock it before it looks, and a lock is a write, which a duplicate is to be
-- spared.
taken AS (
    SELECT i.now, r.*
    FROM input i
    CROSS JOIN LATERAL (SELECT * FROM "idem_records" r WHERE r.key = i.key LIMIT 1) r
    WHERE r.expires_at > i.now AND NOT (
        r.version = 1 AND (
            r.state = 1 AND (r.lease_end <= i.now OR r.token = i.token)
            OR r.state = 3 AND r.token <> i.token))
),
claimed AS (
    INSERT INTO "idem_records" AS r
        (key, version, state, token, fence, attempts, lease_end, expires_at, fingerprint, member, message)
    SELECT key, 1, 1, token, moment, 0, moment + lease, moment + lease + retention, fingerprint, member, message
    -- Just before each row is written: what is written then may wait for another transaction still.
    FROM input CROSS JOIN LATERAL (
        SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + 0 * lease AS moment OFFSET 0
    ) AS clock
    WHERE key NOT IN (SELECT key FROM taken)
    -- The fence that would be inserted is the clock.
    ON CONFLICT (key) DO UPDATE SET
        version = excluded.version,
        state = excluded.state,
        token = excluded.token,
        fence = CASE WHEN r.state = 1 AND r.token = excluded.token THEN r.fence
                     -- The row is locked by now, and whoever had it before has its fence from before.
                     ELSE greatest(r.fence + 1, excluded.fence,
                         (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) END,
        attempts = CASE WHEN r.expires_at <= excluded.fence THEN 0 ELSE r.attempts END,
        -- A run whose lease has run out is in doubt: vanished. A doubt that is there stays.
        doubt = CASE WHEN r.expires_at <= excluded.fence THEN NULL
                     WHEN r.doubt IS NULL AND r.state = 1 AND r.token <> excluded.token
                         THEN '\x01'::bytea || int8send(r.fence) || int4send(least(r.attempts, 2147483646) + 1) || r.member
                     ELSE r.doubt END,
        last = CASE WHEN r.expires_at <= excluded.fence THEN NULL ELSE r.last END,
        member = excluded.member,
        message = excluded.message,
        lease_end = excluded.lease_end,
        expires_at = excluded.expires_at,
        fingerprint = CASE WHEN r.state = 1 AND r.token = excluded.token THEN r.fingerprint
                           ELSE excluded.fingerprint END,
        reply = NULL
    -- Somebody else may have claimed it since it was looked for.
    WHERE r.expires_at <= excluded.fence
        OR r.version = 1 AND (
            r.state = 1 AND (r.lease_end <= excluded.fence OR r.token = excluded.token)
            OR r.state = 3 AND r.token <> excluded.token)
    RETURNING key, token, fence, attempts, lease_end, member, doubt, last, message,
        (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now
)
