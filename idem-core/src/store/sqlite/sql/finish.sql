WITH clock (now) AS (SELECT ?),
input (key, token, retention, reply) AS (VALUES /*each*/(?, ?, ?, ?)/*each*/)
UPDATE "idem_records" AS r
SET state = 2, doubt = NULL, last = NULL, reply = input.reply, expires_at = now + retention
FROM input CROSS JOIN clock
WHERE r.key = input.key AND r.version = 1 AND r.state = 1 AND r.token = input.token
