WITH clock (now) AS (SELECT ?),
input (key, token, lease, retention, ends_doubt) AS (VALUES /*each*/(?, ?, ?, ?, ?)/*each*/)
UPDATE "idem_records" AS r
SET lease_end = now + lease, expires_at = now + lease + retention, doubt = CASE ends_doubt WHEN 0 THEN doubt END
FROM input CROSS JOIN clock
WHERE r.key = input.key AND r.version = 1 AND r.state = 1 AND r.token = input.token AND r.expires_at > now
RETURNING key, 1, version, state, token
