WITH clock (now) AS (SELECT ?),
input (key, token, lease, retention, fingerprint, member, message) AS (VALUES /*each*/(?, ?, ?, ?, ?, ?, ?)/*each*/)
INSERT INTO "idem_records" AS r
    (key, version, state, token, fence, attempts, lease_end, expires_at, fingerprint, member, message)
SELECT key, 1, 1, token, now, 0, now + lease, now + lease + retention, fingerprint, member, message FROM input, clock
WHERE true
-- The fence that would be inserted is the clock.
ON CONFLICT (key) DO UPDATE SET
    version = excluded.version,
    state = excluded.state,
    token = excluded.token,
    fence = CASE WHEN r.state = 1 AND r.token = excluded.token THEN r.fence
                 ELSE max(r.fence + 1, excluded.fence) END,
    attempts = CASE WHEN r.expires_at <= excluded.fence THEN 0 ELSE r.attempts END,
    -- A run whose lease has run out is in doubt: vanished. A doubt that is there stays.
    doubt = CASE WHEN r.expires_at <= excluded.fence THEN NULL
                 WHEN r.doubt IS NULL AND r.state = 1 AND r.token <> excluded.token
                     THEN unhex('01' || printf('%016x', r.fence) || printf('%08x', min(r.attempts, 4294967294) + 1) || hex(r.member))
                 ELSE r.doubt END,
    last = CASE WHEN r.expires_at <= excluded.fence THEN NULL ELSE r.last END,
    member = excluded.member,
    message = excluded.message,
    lease_end = excluded.lease_end,
    expires_at = excluded.expires_at,
    fingerprint = CASE WHEN r.state = 1 AND r.token = excluded.token THEN r.fingerprint
                       ELSE excluded.fingerprint END,
    reply = NULL
WHERE r.expires_at <= excluded.fence
    OR r.version = 1 AND (
        r.state = 1 AND (r.lease_end <= excluded.fence OR r.token = excluded.token)
        OR r.state = 3 AND r.token <> excluded.token)
RETURNING key, 1, version, state, token, fence, attempts, lease_end, 0, fingerprint, reply, member, doubt, last, message
