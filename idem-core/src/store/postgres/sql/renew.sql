WITH input AS (
    SELECT *, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint AS now
    FROM unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bytea[])
        AS i (key, token, lease, retention, ends_doubt)
),
renewed AS (
    UPDATE "idem_records" r
    SET lease_end = i.now + i.lease, expires_at = i.now + i.lease + i.retention,
        doubt = CASE WHEN i.ends_doubt IS NULL THEN r.doubt END
    FROM input i
    WHERE r.key = i.key AND r.version = 1 AND r.state = 1 AND r.token = i.token AND r.expires_at > i.now
        -- The fence of a doubt is behind its cause.
        AND (i.ends_doubt IS NULL OR r.doubt IS NULL OR substring(r.doubt FROM 2 FOR 8) = i.ends_doubt)
    RETURNING r.key, r.token
)
SELECT key, 1::bigint, 1::bigint, 1::bigint, token FROM renewed
UNION ALL
SELECT r.key, 0, r.version, r.state, r.token
FROM input i
CROSS JOIN LATERAL (SELECT * FROM "idem_records" r WHERE r.key = i.key AND r.expires_at > i.now LIMIT 1) r
WHERE i.key NOT IN (SELECT key FROM renewed)
