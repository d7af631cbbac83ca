--- Makes the classes of objects in specs: worlds, hosts, links, apps and so on. For all of them it reports, at the spec's line, calls of
--- unknown methods, a dot in place of a colon, and calls on a closed world.
local complain = require "kt.sim.complain"
local schema = require "kt.schema"

local function world_of(thing) return thing.world end

local function names_of(class)
  local names = {}
  for name, value in next, class do
    if type(value) == "function" and not name:find "^__" and not name:find "^on_" then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

-- Reading an unknown key: an error in a spec; nil for kt.sim's own modules and for fields that are not set yet.
local function absent(name, fields)
  local later = {}
  for _, field in ipairs(fields) do later[field] = true end
  return function(class, key)
    if later[key] or type(key) ~= "string" or not complain.from_spec() then return nil end
    local near = schema.suggest(key, names_of(class))
    complain.raise("%s:%s: no such field or method%s", name, key, near and ("; did you mean %s:%s?"):format(name, near)
      or "; see docs/reference-sim.md")
  end
end

local function checked(class, name, key, fn, opts)
  local what = ("%s:%s"):format(name, key)
  return function(self, ...)
    if (type(self) ~= "table" or not self[class]) and complain.from_spec() then
      complain.raise("%s.%s: called with a dot; write %s(...)", name, key, what)
    end
    local closed = not opts.kept[key] and type(self) == "table" and self[class] and rawget((opts.world or world_of)(self), "closed")
    if closed then complain.raise("%s: the world was closed (%s)", what, closed) end
    return fn(self, ...)
  end
end

--- Makes a class of a complete table of methods. name: its name in messages ("w"). opts:
---   kept     methods that may be called on a closed world
---   fields   fields that may be nil
---   world    a function that returns an object's world
---   base     a class to inherit from
return function(class, name, opts)
  opts = opts or {}
  local how = { kept = {}, world = opts.world }
  for _, key in ipairs(opts.kept or {}) do how.kept[key] = true end
  local own = {}
  for key, value in next, class do
    if type(key) == "string" and type(value) == "function" and not key:find "^__" then own[key] = value end
  end
  for key, fn in next, own do class[key] = checked(class, name, key, fn, how) end
  class[class] = true -- marks objects of this class and of derived ones
  for key, value in next, opts.base or {} do
    if class[key] == nil then class[key] = value end
  end
  setmetatable(class, { __index = absent(name, opts.fields or {}) })
end
