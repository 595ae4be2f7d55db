-- And once all are claimed, statements wait again for as long as they did before the transaction.
SELECT *, (
    SELECT set_config('lock_timeout', current_setting('idem.lock_timeout'), true)
    FROM (SELECT count(*) FROM found) AS all_claimed
)
FROM found
