--- Stand-ins: the results of failed calls and unknown names in `kt check`, so that the main chunk continues to its next mistake.
---
--- A stand-in of a kind ("link") has that kind's methods and fields and reports any other. One without a kind accepts every
--- operation. Neither can keep a loop running: as an iterator, list or length it is empty.
local api = require "kt.api"

local standin = {}

local kinds = setmetatable({}, { __mode = "k" }) -- each stand-in → its kind, or false
local meta = { __metatable = false }

--- The message for assigning a handle's field; the same as in handle.c.
standin.NOT_SET = "a handle's fields cannot be set"

-- kt.check.guard replaces these three:
--- Called with a kind and a field that was assigned, which is always a mistake.
function standin.set() end
--- Called with a kind, an unknown name, and the known names.
function standin.missing() end
--- Called with the description of a method that is called.
function standin.called() end

function standin.new(kind)
  local s = setmetatable({}, meta)
  kinds[s] = api.handles[kind] and kind or false
  return s
end

function standin.is(value) return kinds[value] ~= nil end

local samples, sampled = {}, {} -- by kind, and the kinds by sample

--- A value of no content that messages call by its kind, "a conn": a coroutine, which no type of a description takes.
function standin.sample(kind)
  if not samples[kind] then
    samples[kind] = coroutine.create(function() end)
    sampled[samples[kind]] = kind
  end
  return samples[kind]
end

--- The kind of a sample; nil for any other value.
function standin.sampled(value) return sampled[value] end

--- Whether any of the values is a stand-in or a table that contains one.
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

--- The kind of handle that a function returns, "link" for "link | nil, err"; nil if it does not return a handle. has(key): whether
--- the table it is called with has a key.
function standin.kind_of(f, has)
  local kind = f and f.returns and f.returns:match "^%l+"
  for key, other in next, f and f.instead or {} do
    if has and has(key) then kind = other end
  end
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
