WITH clock (now) AS (SELECT ?),
input (key, token, lease, retention, ends_doubt) AS (VALUES /*each*/(?, ?, ?, ?, ?)/*each*/)
UPDATE "idem_records" AS r
SET lease_end = now + lease, expires_at = now + lease + retention, doubt = CASE WHEN ends_doubt IS NULL THEN doubt END
FROM input CROSS JOIN clock
WHERE r.key = input.key AND r.version = 1 AND r.state = 1 AND r.token = input.token AND r.expires_at > now
    -- The fence of a doubt is behind its cause.
    AND (ends_doubt IS NULL OR r.doubt IS NULL OR substr(r.doubt, 2, 8) = ends_doubt)
RETURNING key, 1, version, state, token
