-- A handler may have reset all settings, this one among them.
SELECT set_config('lock_timeout', coalesce(nullif(current_setting('idem.lock_timeout', true), ''), '0'), true)
