-- A record as one value: numbers of eight bytes, then what may be absent, each behind its length or -1.
SELECT int8send(done) || int8send(version) || int8send(state) || int8send(fence) || int8send(attempts)
    || int8send(lease_end) || int8send(now)
    || int4send(length(token)) || token
    || int4send(coalesce(length(fingerprint), -1)) || coalesce(fingerprint, '')
    || int4send(coalesce(length(reply), -1)) || coalesce(reply, '')
    || int4send(length(member)) || member
    || int4send(coalesce(length(doubt), -1)) || coalesce(doubt, '')
    || int4send(coalesce(length(last), -1)) || coalesce(last, '')
    || int4send(coalesce(length(message), -1)) || coalesce(message, '') AS value
FROM found
-- As `claimed.sql`, once all are claimed.
WHERE (
    SELECT set_config('lock_timeout', coalesce(nullif(current_setting('idem.lock_timeout', true), ''), '0'), true)
    FROM (SELECT count(*) FROM found) AS all_claimed
) IS NOT NULL
