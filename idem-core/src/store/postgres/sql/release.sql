WITH input AS (
    SELECT *, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint AS now
    FROM unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bytea[], $6::bytea[])
        AS i (key, token, retention, attempts, doubt, last)
),
released AS (
    UPDATE "idem_records" r
    SET state = 3,
        -- 0 keeps the number, 1 counts one, -1 begins anew.
        attempts = CASE i.attempts WHEN -1 THEN 0 ELSE least(r.attempts + i.attempts, 2147483647) END,
        doubt = coalesce(i.doubt, r.doubt),
        last = coalesce(i.last, r.last),
        expires_at = i.now + i.retention
    FROM input i
    WHERE r.key = i.key AND r.version = 1 AND r.state = 1 AND r.token = i.token AND r.expires_at > i.now
    RETURNING r.key, r.token
)
SELECT key, 1::bigint, 1::bigint, 3::bigint, token FROM released
UNION ALL
SELECT r.key, 0, r.version, r.state, r.token
FROM input i
CROSS JOIN LATERAL (SELECT * FROM "idem_records" r WHERE r.key = i.key AND r.expires_at > i.now LIMIT 1) r
WHERE i.key NOT IN (SELECT key FROM released)
