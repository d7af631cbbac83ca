--- Stand-ins: what a mistaken call or an unknown name gives in `kt check`, so that the chunk goes on to its next mistake.
---
--- A stand-in of a kind ("link") has that kind's methods and fields and reports any other. One of no kind takes whatever
--- is done to it. Neither keeps a loop going: calls as an iterator, indices and lengths come to an end at once.
local api = require "kt.api"

local standin = {}

local kinds = setmetatable({}, { __mode = "k" }) -- each stand-in → its kind, or false
local meta = { __metatable = false }

--- What is said of a handle's field that is set, as by handle.c.
standin.NOT_SET = "a handle's fields cannot be set"

-- Set by kt.check.guard:
--- is called with a kind and a field that was set, which none may be;
function standin.set() end
--- is called with a kind, a name that it has not, and the names that it has;
function standin.missing() end
--- is called with the description of a method when one is called.
function standin.called() end

function standin.new(kind)
  local s = setmetatable({}, meta)
  kinds[s] = api.handles[kind] and kind or false
  return s
end

function standin.is(value) return kinds[value] ~= nil end

--- Whether any of the values is a stand-in, or a table with one in it.
function standin.among(values, n, depth)
  for i = 1, n do
    local value = values[i]
    if standin.is(value) then return true end
    if type(value) == "table" and (depth or 0) < 4 then
      for _, inner in next, value do
        if standin.among({ inner }, 1, (depth or 0) + 1) then return true end
      end
    end
  end
  return false
end

--- The kind that a function returns first, "link" for "link | nil, err"; nil if it is no handle.
function standin.kind_of(f)
  local kind = f and f.returns and f.returns:match "^%l+"
  return api.handles[kind] and kind
end

local function any() return standin.new() end

local function find(list, name)
  for _, item in ipairs(list) do
    if item.name == name then return item end
  end
end

function meta.__index(self, key)
  local kind = kinds[self]
  if not kind then
    if math.type(key) then return nil end
    return any()
  end
  local h = api.handles[kind]
  local f = find(h.methods, kind .. ":" .. tostring(key))
  if f then
    return function()
      standin.called(f)
      return standin.kind_of(f) == kind and self or standin.new(standin.kind_of(f))
    end
  end
  if not find(h.fields, key) then
    local names = {}
    for _, m in ipairs(h.methods) do names[#names + 1] = m.name:match ":(.+)$" end
    for _, field in ipairs(h.fields) do names[#names + 1] = field.name end
    table.sort(names)
    standin.missing(kind, tostring(key), names)
  end
  return any()
end

function meta.__call(_, ...)
  if select("#", ...) == 2 and (...) == nil then return nil end -- the first step of a generic for
  return any()
end

function meta.__newindex(self, key)
  if kinds[self] then standin.set(kinds[self], tostring(key)) end
end
function meta.__len() return 0 end
function meta.__lt() return false end
function meta.__le() return false end
function meta.__close() end
function meta.__tostring() return "<unknown>" end
function meta.__pairs() return function() end end
for _, event in ipairs { "add", "sub", "mul", "div", "mod", "pow", "unm", "idiv", "band", "bor", "bxor", "bnot", "shl",
  "shr", "concat" } do
  meta["__" .. event] = any
end

return standin
