-- For each key: token, lease in µs, life in ms.
local answers = {}
for i = 1, #KEYS do
  local value, state, failed = fetch(KEYS[i])
  local answer = 'L'
  if failed then return failed end
  if not value then
    answer = state or 'L'
  elseif state == IN_PROGRESS and sub(value, 3, 18) == ARGV[3 * i - 2] then
    local moved = sub(value, 1, 18) .. pack('>I8', now + ARGV[3 * i - 1]) .. sub(value, 27)
    answer, failed = store(KEYS[i], moved, ARGV[3 * i], 'D')
    if failed then return failed end
  end
  answers[i] = answer
end
return answers
