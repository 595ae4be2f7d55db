SELECT id FROM "idem_outbox" WHERE state IN (0, 2, 3) AND due_at <= /*now*/ LIMIT ?
