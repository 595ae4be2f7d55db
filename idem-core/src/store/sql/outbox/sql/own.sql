UPDATE "idem_outbox_meta" SET holder = ? WHERE name = 'owner' AND (holder IS NULL OR holder = ?)
