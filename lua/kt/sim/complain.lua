--- Mistakes in specs: found at the spec's own line, described as kt.schema describes those in scripts.
local clock = require "kt.sim.clock"
local schema = require "kt.schema"

local complain = {}

--- "spec/x_spec.lua:12: ", the innermost line of the spec that is calling; "" if there is none.
function complain.where()
  local line = complain.line()
  return line and line .. ": " or ""
end

--- The same without ": ", or nil.
function complain.line()
  for level = 2, 200 do
    local info = debug.getinfo(level, "Sl")
    if not info then return nil end
    if info.currentline > 0 and not info.source:find "^=%[kt" and not info.source:find "/kt/sim/%w+%.lua$" then
      return info.short_src .. ":" .. info.currentline
    end
  end
end

--- Raises at the spec's line.
function complain.raise(fmt, ...)
  error(complain.where() .. fmt:format(...), 0)
end

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
  return clock.us(complain.value(what, { type = "duration", max = 1e9 }, value))
end

--- A name that is not among those that there are.
function complain.unknown(what, kind, name, names)
  local near = type(name) == "string" and schema.suggest(name, names)
  complain.raise("%s: no %s %s; %s", what, kind, schema.show(name), near and ('did you mean "%s"?'):format(near)
    or #names > 0 and "there are: " .. table.concat(names, ", ") or "there is none yet")
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
