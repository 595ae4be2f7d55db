WITH input AS (
    SELECT *, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint AS now
    FROM unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bytea[], $6::bytea[])
        AS i (key, token, retention, fence, fingerprint, reply)
),
-- Mostly this is all. An upsert alone would do, and would lock each record before it is changed, at a write more.
completed AS (
    UPDATE "idem_records" r
    SET state = 2, reply = i.reply, expires_at = i.now + i.retention
    FROM input i
    WHERE r.key = i.key AND r.version = 1 AND r.state = 1 AND r.token = i.token AND r.expires_at > i.now
    RETURNING r.key, r.token
),
rest AS (
    SELECT * FROM input WHERE key NOT IN (SELECT key FROM completed)
),
-- Nobody has claimed the key since its record's end: the work was done, only late.
anew AS (
    INSERT INTO "idem_records" AS r
        (key, version, state, token, fence, attempts, lease_end, expires_at, fingerprint, reply)
    SELECT key, 1, 2, token, fence, 0, 0, now + retention, fingerprint, reply FROM rest
    ON CONFLICT (key) DO UPDATE SET
        version = excluded.version,
        state = excluded.state,
        token = excluded.token,
        fence = greatest(r.fence, excluded.fence),
        attempts = excluded.attempts,
        lease_end = excluded.lease_end,
        expires_at = excluded.expires_at,
        fingerprint = excluded.fingerprint,
        reply = excluded.reply
    WHERE r.expires_at <= (extract(epoch FROM statement_timestamp()) * 1000000)::bigint
    RETURNING key, token
)
SELECT key, 1::bigint, 1::bigint, 2::bigint, token FROM completed
UNION ALL
SELECT key, 1, 1, 2, token FROM anew
UNION ALL
SELECT r.key, 0, r.version, r.state, r.token
FROM rest i
CROSS JOIN LATERAL (SELECT * FROM "idem_records" r WHERE r.key = i.key AND r.expires_at > i.now LIMIT 1) r
WHERE i.key NOT IN (SELECT key FROM anew)
