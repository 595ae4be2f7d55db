WITH clock (now) AS (SELECT ?),
input (key) AS (VALUES /*each*/(?)/*each*/)
SELECT r.key, 0, r.version, r.state, r.token, r.fence, r.attempts, r.lease_end, clock.now, r.fingerprint, r.reply,
    r.member, r.doubt, r.last, r.message
FROM input CROSS JOIN clock CROSS JOIN "idem_records" AS r
WHERE r.key = input.key AND r.expires_at > now
