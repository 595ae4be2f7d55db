SELECT key, 1::bigint, 1::bigint, 1::bigint, token, fence, attempts::bigint,
    lease_end, now, NULL::bytea, NULL::bytea, member, doubt, last, message
FROM claimed
UNION ALL
SELECT key, 0, version, state, token, fence, attempts, lease_end, now, fingerprint, reply, member, doubt, last, message
FROM taken
