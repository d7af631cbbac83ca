--- Finds loops over values that cannot be iterated: for k, v in far:stats(), ipairs(pool).
local types = require "kt.check.types"

local loops = {}

--- The function that iterates over a value, "ipairs" or "pairs"; nil: none does.
local function way(one)
  if one.is == "list" then return "ipairs" end
  return (one.is == "record" or one.is == "declared") and "pairs" or nil
end

local callable = { ["function"] = true, api = true, method = true, table = true } -- a table may have __call

local function is_callable(one) return callable[one.is] or one.is == "plain" and callable[one.name] or false end

local function complain(node, one, advice, note)
  note { token = node.file.tokens[node.at], path = "for", message = ("%s cannot be iterated directly"):format(types.show(one)), suggestion = advice }
end

--- Checks the loops of a file. Calls note{ token, path, message, suggestion } for each mistake.
function loops.check(inferred, file, note)
  for _, loop in ipairs(file.loops) do
    local expr = loop.exprs[1]
    local one = not loop.numeric and types.only(inferred:value(expr, 1))
    if one and not is_callable(one) then
      local by = way(one)
      complain(expr, one, by and ("write %s(…)"):format(by) or "write a loop with while, and call it in each step", note)
    end
  end
  for _, node in ipairs(file.nodes) do
    local name = node.tag == "call" and node.callee and inferred:library(node.callee)
    local arg = (name == "ipairs" or name == "pairs") and node.args[1]
    local one = arg and types.only(inferred:type(arg))
    if one and (one.is == "handle" or one.is == "plain" and one.name ~= "table") then
      complain(arg, one, "use one of its methods or fields", note)
    elseif one and one.is == "record" and name == "ipairs" then
      complain(arg, one, "write pairs(…)", note)
    end
  end
end

return loops
