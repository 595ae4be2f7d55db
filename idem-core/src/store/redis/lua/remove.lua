-- Takes records out.
local answers = {}
for i = 1, #KEYS do
  local value, state, failed = fetch(KEYS[i])
  if failed then return failed end
  if value then
    local removed = pcall('DEL', KEYS[i])
    if type(removed) == 'table' then return removed end
    answers[i] = 'D'
  else
    answers[i] = state or 'L'
  end
end
return together(answers)
