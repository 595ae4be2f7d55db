-- For all keys: life in ms. For each: the completed record as it is made anew where there is none.

local life = ARGV[1]

-- The reply behind the fingerprint and the message of a record without doubt and last run.
local function reply_of(value)
  local flags, at = byte(value, 47), 48
  if flags % 8 >= 4 then at = at + 16 end
  if flags % 16 >= 8 then at = at + 1 + byte(value, at) % 128 end
  return sub(value, at)
end

-- The answer where the record is not simply in progress under the token, or where a reply is to be stored.
local function complete(key, anew)
  local value, state, failed = fetch(key)
  if failed then return nil, failed end
  if not value then
    if state then return state end
    return store(key, anew, life, 'D')
  end
  if sub(value, 3, 18) ~= sub(anew, 3, 18) then return 'L' end
  if state == COMPLETED then return 'D' end
  if state ~= IN_PROGRESS then return 'L' end
  -- The record's own fingerprint and message, the request's reply; doubt and last run are over. A record in progress has no
  -- reply, and what is made anew neither doubt nor last run.
  local _, _, at = kept(value)
  local flags = byte(value, 47)
  local reply = ''
  if byte(anew, 47) >= 16 then flags, reply = flags + 16, reply_of(anew) end
  local completed = '\1C' .. sub(value, 3, 46) .. flagged(flags, '', '') .. sub(value, at) .. reply
  return store(key, completed, life, 'D')
end

-- Mostly the record is in progress under the token, has neither doubt nor last run, and no reply is to be stored, so that only
-- its state changes: that is done in place. Whether it was.
--
-- While the lease lasts, the record lives on for what is left of it and the life: it was claimed or renewed for
-- lease and life together. Its expiry is moved only where that is more than a hundredth too long, or too short.
local longest = life * 10
local function completed_in_place(key, value, anew)
  if not value or #value < 47 or byte(anew, 47) >= 16 or byte(value, 47) % 4 > 0 or sub(value, 3, 18) ~= sub(anew, 3, 18) then
    return false
  end
  local version, state = byte(value, 1, 2)
  if version ~= 1 or state ~= IN_PROGRESS or type(pcall('SETRANGE', key, '1', 'C')) ~= 'number' then
    return false
  end
  local left = unpack('>I8', value, 19) - now
  if left < 0 or left > longest then pcall('PEXPIRE', key, life) end
  return true
end

-- No value for a key that is absent, or holds something else than a string.
local values = pcall('MGET', spread(KEYS))
local answers = {}
for i = 1, #KEYS do
  local key, anew = KEYS[i], ARGV[i + 1]
  local answer, failed = 'D', nil
  if not completed_in_place(key, values[i], anew) then answer, failed = complete(key, anew) end
  if failed then return failed end
  answers[i] = answer
end
return together(answers)
