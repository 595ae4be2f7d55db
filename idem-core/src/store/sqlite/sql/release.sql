WITH clock (now) AS (SELECT ?),
input (key, token, retention, counted, doubt, last) AS (VALUES /*each*/(?, ?, ?, ?, ?, ?)/*each*/)
UPDATE "idem_records" AS r
SET state = 3,
    -- 0 keeps the number, 1 counts one, -1 begins anew.
    attempts = CASE counted WHEN -1 THEN 0 ELSE min(attempts + counted, 4294967295) END,
    doubt = coalesce(input.doubt, r.doubt),
    last = coalesce(input.last, r.last),
    expires_at = now + retention
FROM input CROSS JOIN clock
WHERE r.key = input.key AND r.version = 1 AND r.state = 1 AND r.token = input.token AND r.expires_at > now
RETURNING key, 1, version, state, token
