-- For each key: the completed record as it is made anew where there is none, life in ms.

-- The answer where the record is not simply in progress under the token, or where a reply is to be stored.
local function complete(key, anew, life)
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

-- Mostly the record is in progress under the token and no reply is to be stored, so that only its state and its
-- life change: that is done in place. Whether it was.
local function completed_in_place(key, anew, life)
  local value = pcall('GET', key)
  if type(value) ~= 'string' or #value < 55 or sub(value, 1, 18) ~= '\1P' .. sub(anew, 3, 18)
    or byte(anew, 39) > 1 or type(pcall('SETRANGE', key, '1', 'C')) ~= 'number' then
    return false
  end
  pcall('PEXPIRE', key, life)
  return true
end

local answers = {}
for i = 1, #KEYS do
  local key, anew, life = KEYS[i], ARGV[2 * i - 1], ARGV[2 * i]
  local answer, failed = 'D', nil
  if not completed_in_place(key, anew, life) then answer, failed = complete(key, anew, life) end
  if failed then return failed end
  answers[i] = answer
end
return answers
