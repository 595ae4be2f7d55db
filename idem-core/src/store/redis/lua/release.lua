-- For all keys: life in ms. For each: token and one byte for the attempts (K keep, C count, R reset).
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
      local released = '\1R' .. sub(value, 3, 34) .. pack('>I4', attempts) .. sub(value, 39)
      answer, failed = store(KEYS[i], released, life, 'D')
      if failed then return failed end
    end
  end
  answers[i] = answer
end
return together(answers)
