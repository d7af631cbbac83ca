--- Reports mistakes in specs at the spec's own line, in the same form as kt.schema does for scripts.
local clock = require "kt.sim.clock"
local schema = require "kt.schema"

local complain = {}

local TIME = { type = "duration", max = 1e9 }

--- "spec/x_spec.lua:12: ", the innermost line on the stack that belongs to the spec; "" if there is none.
function complain.where()
  local line = complain.line()
  return line and line .. ": " or ""
end

-- Whether a stack frame belongs to kt.sim, embedded or loaded from files.
local function ours(info) return info.source:find "^=%[kt" or info.source:find "/kt/sim/%w+%.lua$" end

-- "spec/x_spec.lua:12". Avoids short_src, which may be truncated.
local function place(info) return (info.source:match "^[@=](.*)$" or info.short_src) .. ":" .. info.currentline end

--- The same without ": ", or nil. co: a coroutine to look at instead of the running one.
function complain.line(co)
  for level = co and 0 or 2, 200 do
    local info
    if co then info = debug.getinfo(co, level, "Sl") else info = debug.getinfo(level, "Sl") end
    if not info then return nil end
    if info.currentline > 0 and not ours(info) then return place(info) end
  end
end

--- Whether the caller's caller is outside kt.sim. After a tail call that is unknown, and the answer is false.
function complain.from_spec()
  if debug.getinfo(2, "t").istailcall then return false end
  local info = debug.getinfo(3, "S")
  return info ~= nil and not ours(info)
end

--- "w:at (spec/x_spec.lua:12)": the origin to report if a function passed here fails later.
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

--- An error raised by a function of the spec, with the origin of the function and a traceback. co: the task that failed; without it,
--- this is a message handler of the running coroutine. An error that is a table of the spec's own is returned unchanged.
function complain.told(why, origin, co)
  local meta = debug.getmetatable(why)
  local failure = meta and meta.__type == "failure" and type(why.message) == "string"
  if why == nil then why = "an error without a value" end
  if type(why) ~= "string" and not failure then return why end
  local through = lines_of(co, co and 0 or 3)
  local text = ("\n  in the function given to %s%s"):format(origin, #through > 0 and "\n  at " .. table.concat(through, "\n  from ") or "")
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

--- One value checked against a description.
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

--- Lets a list of elements with names also be indexed by name.
function complain.by_name(list, where)
  local named, names = {}, {}
  for i = #list, 1, -1 do
    named[list[i].name] = list[i] -- the first of several with the same name
    table.insert(names, 1, list[i].name)
  end
  return setmetatable(list, { __index = function(_, name)
    if math.type(name) then return nil end
    if not named[name] then complain.unknown(where, "pool", name, names) end
    return named[name]
  end })
end

--- A failure at run time: code and sentence, as in scripts.
local err = {}
err.__index = err
function err:__tostring() return self.text end
function err.__concat(a, b) return tostring(a) .. tostring(b) end

function complain.err(code, text) return setmetatable({ code = code, text = text }, err) end

return complain
