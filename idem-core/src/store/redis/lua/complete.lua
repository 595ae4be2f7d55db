-- For each key: the completed record as it is made anew where there is none, life in ms.
local answers = {}
for i = 1, #KEYS do
  local key, anew, life = KEYS[i], ARGV[2 * i - 1], ARGV[2 * i]
  local value, state, failed = fetch(key)
  local answer = 'L'
  local completed
  if failed then return failed end
  if not value then
    if state then answer = state else completed = anew end
  elseif sub(value, 3, 18) == sub(anew, 3, 18) then
    if state == COMPLETED then
      answer = 'D'
    elseif state == IN_PROGRESS then
      -- The record's own fingerprint, the request's reply. What is in progress has no reply of its own.
      if byte(anew, 39) < 2 then
        completed = '\1C' .. sub(value, 3, 55)
      else
        completed = '\1C' .. sub(value, 3, 38) .. string.char(byte(value, 39) % 2 + 2)
          .. sub(value, 40, 55) .. sub(anew, 56)
      end
    end
  end
  if completed then
    answer, failed = store(key, completed, life, 'D')
    if failed then return failed end
  end
  answers[i] = answer
end
return answers
