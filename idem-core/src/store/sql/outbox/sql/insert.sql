INSERT INTO "idem_outbox"
    (id, record_key, topic, tag, lookup_keys, order_by, properties, body, state, made_at, due_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, /*now*/, /*now*/ + ?)
