--- Mistakes in specs: found at the spec's own line, described as kt.schema describes those in scripts.
local clock = require "kt.sim.clock"
local schema = require "kt.schema"

local complain = {}

local TIME = { type = "duration", max = 1e9 }

--- "spec/x_spec.lua:12: ", the innermost line of the spec that is calling; "" if there is none.
function complain.where()
  local line = complain.line()
  return line and line .. ": " or ""
end

-- kt.sim's own, embedded or from files.
local function ours(info) return info.source:find "^=%[kt" or info.source:find "/kt/sim/%w+%.lua$" end

-- "spec/x_spec.lua:12"; not short_src, which is cut short.
local function place(info) return (info.source:match "^[@=](.*)$" or info.short_src) .. ":" .. info.currentline end

--- The same without ": ", or nil. Of a coroutine, if one is given.
function complain.line(co)
  for level = co and 0 or 2, 200 do
    local info
    if co then info = debug.getinfo(co, level, "Sl") else info = debug.getinfo(level, "Sl") end
    if not info then return nil end
    if info.currentline > 0 and not ours(info) then return place(info) end
  end
end

--- Whether what called the caller is none of kt.sim's. After a tail call nobody knows: then it is not.
function complain.from_spec()
  if debug.getinfo(2, "t").istailcall then return false end
  local info = debug.getinfo(3, "S")
  return info ~= nil and not ours(info)
end

--- "w:at (spec/x_spec.lua:12)", for what goes wrong later in a function that was given there.
function complain.origin(what)
  local line = complain.line()
  return line and ("%s (%s)"):format(what, line) or what
end

local function lines_of(co, level)
  local out = {}
  while #out < 12 do
    local info
    if co then info = debug.getinfo(co, level, "Sl") else info = debug.getinfo(level, "Sl") end
    if not info then break end
    if info.currentline > 0 and not ours(info) and not info.source:find "/luassert/" and not info.source:find "/busted/" then
      out[#out + 1] = place(info)
    end
    level = level + 1
  end
  return out
end

--- An error of a function of the spec's, with what called that function and the lines it has come through. Of a task (co), or of
--- the coroutine that runs, in which this is the message handler. A table of the spec's own stays as it is.
function complain.told(why, origin, co)
  local meta = debug.getmetatable(why)
  local failure = meta and meta.__type == "failure" and type(why.message) == "string"
  if why == nil then why = "an error without a value" end
  if type(why) ~= "string" and not failure then return why end
  local through = lines_of(co, co and 0 or 3)
  local text = ("\n  in the function of %s%s"):format(origin, #through > 0 and "\n  at " .. table.concat(through, "\n  from ") or "")
  if not failure then return why .. text end
  why.message = why.message .. text
  return why
end

--- Raises at the spec's line.
function complain.raise(fmt, ...)
  error(complain.where() .. fmt:format(...), 0)
end

--- Raises "expected X, got Y" at the spec's line.
function complain.misfit(what, expected, value) complain.raise("%s: %s", what, schema.unfit(expected, value)) end

--- Options checked against a description; nil is {}.
function complain.checked(what, description, value)
  local out, mistakes = schema.check(what, description, value == nil and {} or value)
  if not out then schema.refuse(complain.where(), what, mistakes) end
  return out
end

--- One value against a description.
function complain.value(what, description, value)
  local out, wrong, suggestion = schema.types[description.type](description, value)
  if wrong then complain.raise("%s: %s%s", what, wrong, suggestion and "; " .. suggestion or "") end
  return out
end

--- A duration in µs.
function complain.duration(what, value)
  return clock.us(complain.value(what, TIME, value))
end

--- Raises for a name that is not among `names`.
function complain.unknown(what, kind, name, names)
  local near = type(name) == "string" and schema.suggest(name, names)
  complain.raise("%s: unknown %s %s%s", what, kind, schema.show(name), near and ('; did you mean "%s"?'):format(near)
    or #names > 0 and "; " .. schema.one_of(names) or "")
end

--- A list whose elements have names, to be asked by name too.
function complain.by_name(list, where)
  local named, names = {}, {}
  for i = #list, 1, -1 do
    named[list[i].name] = list[i] -- of two that have one name the first
    table.insert(names, 1, list[i].name)
  end
  return setmetatable(list, { __index = function(_, name)
    if math.type(name) then return nil end
    if not named[name] then complain.unknown(where, "pool", name, names) end
    return named[name]
  end })
end

--- What was expected to be able to fail, as scripts have it: code and sentence.
local err = {}
err.__index = err
function err:__tostring() return self.text end
function err.__concat(a, b) return tostring(a) .. tostring(b) end

function complain.err(code, text) return setmetatable({ code = code, text = text }, err) end

return complain
