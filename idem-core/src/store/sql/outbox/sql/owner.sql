SELECT holder FROM "idem_outbox_meta" WHERE name = 'owner'
