-- For all keys: life in ms. For each: the completed record as it is made anew where there is none.

local life = ARGV[1]

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
  -- The record's own fingerprint, the request's reply.
  local fingerprinted, replied = byte(value, 39) % 2, byte(anew, 39) >= 2 and 2 or 0
  local completed = '\1C' .. sub(value, 3, 38) .. string.char(fingerprinted + replied)
    .. sub(value, 40, 55) .. sub(anew, 56)
  return store(key, completed, life, 'D')
end

-- Mostly the record is in progress under the token and no reply is to be stored, so that only its state changes:
-- that is done in place. Whether it was.
--
-- While the lease lasts, the record lives on for what is left of it and the life: it was claimed or renewed for
-- lease and life together. Its expiry is moved only where that is more than a hundredth too long, or too short.
local longest = life * 10
local function completed_in_place(key, value, anew)
  if not value or #value < 55 or byte(anew, 39) > 1 or sub(value, 3, 18) ~= sub(anew, 3, 18) then
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
