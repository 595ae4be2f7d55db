WITH input AS (
    SELECT *, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint AS now
    FROM unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bytea[], $6::bytea[],
        $7::bytea[], $8::bytea[])
        AS i (key, token, retention, fence, fingerprint, reply, member, message)
),
-- Mostly this is all. An upsert alone would do, and would lock each record before it is changed, at a write more.
completed AS (
    UPDATE "idem_records" r
    SET state = 2, reply = i.reply, doubt = NULL, last = NULL, expires_at = i.now + i.retention
    FROM input i
    WHERE r.key = i.key AND r.version = 1 AND r.state = 1 AND r.token = i.token AND r.expires_at > i.now
    RETURNING r.key, r.token
),
rest AS (
    SELECT * FROM input WHERE key NOT IN (SELECT key FROM completed)
),
taken AS (
    SELECT r.key, r.version, r.state, r.token
    FROM rest i
    CROSS JOIN LATERAL (SELECT * FROM "idem_records" r WHERE r.key = i.key LIMIT 1) r
    WHERE r.expires_at > i.now
),
-- Nobody has claimed the key since its record's end: the work was done, only late.
anew AS (
    INSERT INTO "idem_records" AS r
        (key, version, state, token, fence, attempts, lease_end, expires_at, fingerprint, reply, member, message)
    SELECT key, 1, 2, token, fence, 0, now, now + retention, fingerprint, reply, member, message
    FROM rest WHERE key NOT IN (SELECT key FROM taken)
    -- The lease's end that would be inserted is the clock.
    ON CONFLICT (key) DO UPDATE SET
        version = excluded.version,
        state = excluded.state,
        token = excluded.token,
        fence = greatest(r.fence, excluded.fence),
        attempts = excluded.attempts,
        lease_end = excluded.lease_end,
        expires_at = excluded.expires_at,
        member = excluded.member,
        doubt = NULL,
        last = NULL,
        fingerprint = excluded.fingerprint,
        message = excluded.message,
        reply = excluded.reply
    WHERE r.expires_at <= excluded.lease_end
    RETURNING key, token
)
SELECT key, 1::bigint, 1::bigint, 2::bigint, token FROM completed
UNION ALL
SELECT key, 1, 1, 2, token FROM anew
UNION ALL
SELECT key, 0, version, state, token FROM taken
