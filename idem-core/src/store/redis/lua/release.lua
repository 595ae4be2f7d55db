-- For all keys: life in ms. For each: token; one byte for the attempts (K keep, C count, R reset); one for the doubt (K keep, D
-- take the one that follows); and the last run, where there is one.
local life = ARGV[1]
local answers = {}
for i = 1, #KEYS do
  local id = ARGV[i + 1]
  local value, state, failed = fetch(KEYS[i])
  local answer = 'L'
  if failed then return failed end
  if not value then
    answer = state or 'L'
  elseif sub(value, 3, 18) == sub(id, 1, 16) then
    if state == RELEASED then
      answer = 'D'
    elseif state == IN_PROGRESS then
      local attempts, mode = unpack('>I4', value, 35), byte(id, 17)
      if mode == 82 then
        attempts = 0
      elseif mode == 67 and attempts < 4294967295 then
        attempts = attempts + 1
      end
      local doubt, last, at = kept(value)
      local behind = 19
      if byte(id, 18) == 68 then doubt, behind = sub(id, 19, 39), 40 end
      if #id >= behind then last = sub(id, behind) end
      local released = '\1R' .. sub(value, 3, 34) .. pack('>I4', attempts) .. sub(value, 39, 46)
        .. flagged(byte(value, 47), doubt, last) .. sub(value, at)
      answer, failed = store(KEYS[i], released, life, 'D')
      if failed then return failed end
    end
  end
  answers[i] = answer
end
return together(answers)
