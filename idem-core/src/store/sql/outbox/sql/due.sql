SELECT id, topic, tag, lookup_keys, order_by, properties, body FROM "idem_outbox"
WHERE state = 1 AND due_at <= /*now*/ ORDER BY due_at LIMIT ?
