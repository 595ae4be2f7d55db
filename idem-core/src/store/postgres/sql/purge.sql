-- Records that do not look expired are not touched, so that nobody waits for the purge, or it for a transaction.
WITH range AS (
    SELECT key, expires_at, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint AS now
    FROM "idem_records" WHERE key > $1 ORDER BY key LIMIT $2
),
deleted AS (
    DELETE FROM "idem_records" r USING range
    WHERE r.key = range.key AND range.expires_at <= range.now AND r.expires_at <= range.now
    RETURNING 1
)
SELECT (SELECT key FROM range ORDER BY key OFFSET $2 - 1), (SELECT count(*) FROM deleted)
