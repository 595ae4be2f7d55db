SELECT "key" FROM "idem_records" WHERE "key" >= ? AND "key" < ? ORDER BY "key" LIMIT 1 OFFSET ?
