--- Finds undefined names in code that `kt check` does not run. A name assigned anywhere in the file, in any scope, counts as defined, so
--- there are no false positives.
local literals = require "kt.check.literals"
local schema = require "kt.schema"

local globals = {}

local text = literals.text

--- Adds the names of a list, "a, b <const>, c", that begins at i.
local function add_list(tokens, i, defined)
  while tokens[i] and tokens[i].kind == "name" do
    defined[tokens[i].text] = true
    i = i + 1
    if text(tokens, i) == "<" then i = i + 3 end
    if text(tokens, i) ~= "," then return end
    i = i + 1
  end
end

--- All names that a file assigns.
local function defined_in(tokens)
  local defined = { self = true, _ENV = true }
  for i, token in ipairs(tokens) do
    local t = token.kind == "keyword" and token.text
    if t == "local" or t == "for" then
      add_list(tokens, i + 1, defined)
    elseif t == "function" then
      local open = i + 1
      add_list(tokens, open, defined)
      while tokens[open] and text(tokens, open) ~= "(" do open = open + 1 end
      add_list(tokens, open + 1, defined)
    elseif token.kind == "name" and (text(tokens, i + 1) == "=" or text(tokens, i + 1) == ",") then
      -- An assignment "a, b = …", or the arguments of a call, which look the same up to the "=".
      local last = i
      while text(tokens, last + 1) == "," and tokens[last + 2] and tokens[last + 2].kind == "name" do last = last + 2 end
      if text(tokens, last + 1) == "=" then add_list(tokens, i, defined) end
    end
  end
  return defined
end

--- The closest of `names`; nil for names of one or two letters, which are close to everything.
function globals.suggest(name, names)
  return #name > 2 and schema.suggest(name, names) or nil
end

--- Calls note(line, name, known names) for each use of a name that neither the file nor `world` (the globals) defines.
function globals.check(tokens, world, note)
  local defined = defined_in(tokens)
  local names = {}
  for name in next, world do names[#names + 1] = name end
  for name in next, defined do names[#names + 1] = name end
  table.sort(names)
  for i, token in ipairs(tokens) do
    local before = text(tokens, i - 1)
    if token.kind == "name" and before ~= "." and before ~= ":" and before ~= "::" and before ~= "goto"
      and not (before == "<" and text(tokens, i + 1) == ">") and not defined[token.text] and rawget(world, token.text) == nil then
      note(token.line, token.text, names)
    end
  end
end

return globals
