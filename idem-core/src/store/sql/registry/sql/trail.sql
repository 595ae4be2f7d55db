SELECT id, made_at, number, is_end, who, decision, forced, record_key, said
FROM "idem_records_audit" WHERE id < ? ORDER BY id DESC LIMIT ?
