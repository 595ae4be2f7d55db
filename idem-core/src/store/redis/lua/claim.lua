-- For all keys: lease in µs, life in ms. For each: the head of its record up to the token, and flags and fingerprint
-- where there is one.

local lease, life = ARGV[1], ARGV[2]
-- Lease end, fence and attempts of a first claim, and the tail of a record without fingerprint.
local first, bare = pack('>I8I8I4', now + lease, now, 0), string.rep('\0', 17)

-- The answer where there is something under the key already, or where it could not be stored.
local function claim(key, head, tail)
  local value, state, failed = fetch(key)
  if failed then return nil, failed end
  if not value and state then return state end
  local fence, attempts = now, 0
  if value then
    local own = sub(value, 3, 18) == sub(head, 3)
    if state == COMPLETED then return 'C' .. sub(value, 39) end
    if state == RELEASED then
      -- A late copy of a claim that is over must not take the key again.
      if own then return 'P' .. pack('>I8', 0) .. sub(value, 39, 55) end
    elseif not own then
      local lease_end = unpack('>I8', value, 19)
      if lease_end > now then return 'P' .. pack('>I8', lease_end - now) .. sub(value, 39, 55) end
    end
    fence, attempts = unpack('>I8I4', value, 27)
    if own then
      tail = sub(value, 39)
    elseif fence < now then
      fence = now
    else
      fence = fence + 1
    end
  end
  local numbers = pack('>I8I8I4', now + lease, fence, attempts)
  return store(key, head .. numbers .. tail, life, 'N' .. numbers)
end

local granted, anew = 'N' .. first, first .. bare
local answers = {}
for i = 1, #KEYS do
  local key, head, tail = KEYS[i], ARGV[i + 2], bare
  local record
  if #head == 18 then
    record = head .. anew
  else
    head, tail = sub(head, 1, 18), sub(head, 19)
    record = head .. first .. tail
  end
  -- Most keys are absent, and then this one step is all.
  local made = pcall('SET', key, record, 'NX', 'PX', life)
  if made and made.ok then
    answers[i] = granted
  else
    local failed
    answers[i], failed = claim(key, head, tail)
    if failed then return failed end
  end
end
return together(answers)
