WITH clock (now) AS (SELECT ?),
input (key, token, lease, retention, fingerprint) AS (VALUES /*each*/(?, ?, ?, ?, ?)/*each*/)
INSERT INTO "idem_records" AS r (key, version, state, token, fence, attempts, lease_end, expires_at, fingerprint)
SELECT key, 1, 1, token, now, 0, now + lease, now + lease + retention, fingerprint FROM input, clock
WHERE true
-- The fence that would be inserted is the clock.
ON CONFLICT (key) DO UPDATE SET
    version = excluded.version,
    state = excluded.state,
    token = excluded.token,
    fence = CASE WHEN r.state = 1 AND r.token = excluded.token THEN r.fence
                 ELSE max(r.fence + 1, excluded.fence) END,
    attempts = CASE WHEN r.expires_at <= excluded.fence THEN 0 ELSE r.attempts END,
    lease_end = excluded.lease_end,
    expires_at = excluded.expires_at,
    fingerprint = CASE WHEN r.state = 1 AND r.token = excluded.token THEN r.fingerprint
                       ELSE excluded.fingerprint END,
    reply = NULL
WHERE r.expires_at <= excluded.fence
    OR r.version = 1 AND (
        r.state = 1 AND (r.lease_end <= excluded.fence OR r.token = excluded.token)
        OR r.state = 3 AND r.token <> excluded.token)
RETURNING key, 1, version, state, token, fence, attempts, lease_end, 0, fingerprint, reply
