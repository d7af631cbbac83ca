--- Finds what kt.keep cannot hand to the next script: functions and handles that the script puts into a kept table. The table that it gives
--- kt.keep itself is checked when the main chunk runs.
local infer = require "kt.check.infer"
local types = require "kt.check.types"

local keep = {}

--- The name of what cannot be kept, "a function"; nil if it can, or is unknown.
local function unfit(inferred, node)
  local one = node and types.only(inferred:type(node))
  local refused = one and (one.is == "handle" or one.is == "function" or one.is == "api" or one.is == "method" or one.is == "plain" and one.name == "function")
  return refused and types.show(one.is == "api" and { is = "function" } or one) or nil
end

--- Whether the table that an index reads is, or is in, one that kt.keep returned.
local function is_kept(inferred, node)
  while node.tag == "index" do node = node.base end
  node = infer.behind(node)
  local f = node.tag == "call" and inferred:called(node)
  return f and f.name == "kt.keep"
end

--- Calls note{ token, path, message, suggestion } for each mistake in a file.
function keep.check(inferred, file, note)
  for _, set in ipairs(file.sets) do
    local target, def = set.target, set.def
    if is_kept(inferred, target) then
      local function complain(node, fmt, what)
        note {
          token = file.tokens[node.at], path = "kt.keep", message = fmt:format(what) .. ": the next reload would fail",
          suggestion = "only tables, strings, numbers and booleans can be kept",
        }
      end
      local value = def.nth == 1 and unfit(inferred, def.expr)
      if value then complain(def.expr, "%s is put into a kept table", value) end
      local key = unfit(inferred, target.computed)
      if key then complain(target.computed, "%s is a key of a kept table", key) end
    end
  end
end

return keep
