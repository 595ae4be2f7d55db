-- And once all are claimed, statements wait again for as long as they did before the transaction.
SELECT *, (
    -- As `claimed.sql`.
    SELECT set_config('lock_timeout', coalesce(nullif(current_setting('idem.lock_timeout', true), ''), '0'), true)
    FROM (SELECT count(*) FROM found) AS all_claimed
)
FROM found
