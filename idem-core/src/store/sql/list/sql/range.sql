-- 0 takes every state; for doubt, 0 takes none, 1 those in doubt, and 2 all.
SELECT "key", 1/*long*/, "version"/*long*/, "state"/*long*/, "token", "fence", "attempts"/*long*/, "lease_end", /*now*/,
    "fingerprint", "reply", "member", "doubt", "last", "message"
FROM "idem_records"
WHERE "key" >= ? AND "key" < ? AND "expires_at" > /*now*/
    AND ? IN (0, "state")
    AND ? IN (2, CASE WHEN "doubt" IS NULL THEN 0 ELSE 1 END)
    AND "fence" <= /*now*/ - ? AND "fence" >= /*now*/ - ?
ORDER BY "key"
