-- Records that do not look expired are not touched, and those that somebody has claimed again in an open transaction are left
-- to the next walk: nobody waits for the purge, or it for a transaction.
WITH range AS (
    SELECT key, expires_at, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint AS now
    FROM "idem_records" WHERE key > $1 ORDER BY key LIMIT $2
),
expired AS (
    SELECT r.key FROM range JOIN "idem_records" r ON r.key = range.key
    WHERE range.expires_at <= range.now AND r.expires_at <= range.now
    FOR UPDATE OF r SKIP LOCKED
),
deleted AS (
    DELETE FROM "idem_records" r USING expired WHERE r.key = expired.key
    RETURNING 1
)
SELECT (SELECT key FROM range ORDER BY key OFFSET $2 - 1), (SELECT count(*) FROM deleted)
