WITH clock AS (
    SELECT (extract(epoch FROM statement_timestamp()) * 1000000)::bigint AS now
)
SELECT key, 1::bigint, version::bigint, state::bigint, token, fence, attempts::bigint,
    lease_end, now, fingerprint, reply, member, doubt, last, message
FROM "idem_records", clock
WHERE key = $1 AND expires_at > now
