-- For all keys: life in µs. For the one key, the hash of members: a member's id, and what it says of itself.
--
-- A value is when the member was seen first and last and when its life ends, in µs, and then what it says.
local id, said = sub(ARGV[3], 1, 8), sub(ARGV[3], 9)
local known = pcall('HGET', KEYS[1], id)
if type(known) == 'table' then return known end
local started = now
if known then
  started = unpack('>I8', known)
else
  -- A new member makes room for itself: those whose life is over go.
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    if unpack('>I8', all[i + 1], 17) <= now then redis.call('HDEL', KEYS[1], all[i]) end
  end
end
redis.call('HSET', KEYS[1], id, pack('>I8I8I8', started, now, now + ARGV[1]) .. said)
return 'D'
