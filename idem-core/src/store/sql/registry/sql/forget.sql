-- By their keys, as safe updates want it.
DELETE FROM "idem_records_members" WHERE expires_at <= /*now*/ AND id IN (/*ids*/)
