--- Checks format strings, those of kt.log and of string.format, against the arguments that follow.
local arguments = require "kt.check.arguments"
local constants = require "kt.check.constants"
local types = require "kt.check.types"

local formats = {}

-- Values for string.format in place of a computed one, by its type. A number may have a fraction.
local samples = { integer = 1, number = 1.5, boolean = true }

--- The arguments of a call from a format string on, and the function's name; nil if it has none.
local function format_of(inferred, call)
  local f, before = inferred:called(call)
  if f then
    local p = f.params and f.params[1]
    if not p or not p.format or #call.args - before < 2 then return nil end -- a message alone is logged as it is
    return table.move(call.args, before + 1, #call.args, 1, {}), f.name
  end
  if call.callee and inferred:library(call.callee) == "string.format" then return call.args, "string.format" end
  local text = call.method == "format" and call.base
  while text and text.tag == "paren" do text = text.inner end
  if not text or text.tag ~= "constant" then return nil end
  return table.move(call.args, 1, #call.args, 2, { text }), "string.format"
end

--- A value of the kind that an expression has, and how to call it; nil if unknown.
local function sample(inferred, node)
  if node.tag == "constant" and node.value ~= nil then return node.value, type(node.value) == "string" and ("%q"):format(node.value) or tostring(node.value) end
  local one = types.only(inferred:type(node))
  if not one or one.is == "plain" and one.name == "string" then return nil end
  if one.is == "plain" and samples[one.name] ~= nil then
    return samples[one.name], one.name == "number" and "which may have a fraction" or types.show(one)
  end
  return {}, types.show(one)
end

--- Checks one conversion against its argument; returns the message and the suggestion if it does not fit.
local function objection(inferred, spec, nth, node)
  local value, shown = sample(inferred, node)
  if value == nil then return nil end
  local ok, wrong = pcall(string.format, spec, value)
  local one = ok and spec:find "s$" and types.only(inferred:type(node))
  if one and (one.is == "record" or one.is == "list") then
    return ("argument %d is %s, whose text is an address"):format(nth, types.show(one)), "give one of its fields, or kt.json.encode(…)"
  end
  if ok then return nil end
  local fraction = wrong:find "no integer representation"
  return ("%s does not fit argument %d, %s"):format(spec, nth, shown), fraction and "write %.0f" or "write %s"
end

--- Checks the call, if it is one with a format. Calls note as kt.check.arguments does.
function formats.check(inferred, call, note)
  local args, name = format_of(inferred, call)
  local fmt = args and args[1]
  local text = fmt and constants.value(inferred, fmt)
  if type(text) ~= "string" then return end
  local function complain(node, message, suggestion)
    note { token = node.file.tokens[node.at], path = name, message = message, suggestion = suggestion, placed = true }
  end
  local more, nth = arguments.may_be_many(args[#args]), 1
  for spec in text:gsub("%%%%", ""):gmatch "%%[-+ #0]*%d*%.?%d*.?" do
    nth = nth + 1
    local ok, wrong = pcall(string.format, spec, 0)
    if not ok and wrong:find "invalid" then
      return complain(fmt, ('"%s" is not a conversion'):format(spec), "write %% for a percent sign")
    end
    local node = args[nth]
    if node then
      local message, suggestion = objection(inferred, spec, nth, node)
      if message then complain(node, message, suggestion) end
    end
  end
  local given = #args - 1
  local function values(n) return ("%d value%s"):format(n, n == 1 and "" or "s") end
  if given < nth - 1 and not (more and given > 0) then
    complain(fmt, ("the format takes %s, got %d"):format(values(nth - 1), given), "add what is missing, or write %% for a percent sign")
  elseif given - (more and 1 or 0) > nth - 1 then
    complain(args[nth + 1], ("the format takes %s, got %d"):format(values(nth - 1), given), "add a conversion such as %s")
  end
end

return formats
