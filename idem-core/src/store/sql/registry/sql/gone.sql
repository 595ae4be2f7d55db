SELECT id FROM "idem_records_members" WHERE expires_at <= /*now*/ LIMIT ?
