WITH clock (now) AS (SELECT ?),
input (key, token, retention, fence, fingerprint, reply, member, message)
    AS (VALUES /*each*/(?, ?, ?, ?, ?, ?, ?, ?)/*each*/)
INSERT INTO "idem_records" AS r
    (key, version, state, token, fence, attempts, lease_end, expires_at, fingerprint, reply, member, message)
SELECT key, 1, 2, token, fence, 0, now, now + retention, fingerprint, reply, member, message FROM input, clock
WHERE true
-- The lease's end that would be inserted is the clock. What has expired is made anew.
ON CONFLICT (key) DO UPDATE SET
    version = excluded.version,
    state = excluded.state,
    token = excluded.token,
    fence = max(r.fence, CASE WHEN r.expires_at <= excluded.lease_end THEN excluded.fence ELSE 0 END),
    attempts = CASE WHEN r.expires_at <= excluded.lease_end THEN 0 ELSE r.attempts END,
    fingerprint = CASE WHEN r.expires_at <= excluded.lease_end THEN excluded.fingerprint ELSE r.fingerprint END,
    member = CASE WHEN r.expires_at <= excluded.lease_end THEN excluded.member ELSE r.member END,
    message = CASE WHEN r.expires_at <= excluded.lease_end THEN excluded.message ELSE r.message END,
    doubt = NULL,
    last = NULL,
    expires_at = excluded.expires_at,
    reply = excluded.reply
WHERE r.expires_at <= excluded.lease_end OR r.version = 1 AND r.state = 1 AND r.token = excluded.token
RETURNING key, 1, version, state, token
