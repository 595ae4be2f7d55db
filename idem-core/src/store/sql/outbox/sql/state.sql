SELECT state FROM "idem_outbox" WHERE id = ?
