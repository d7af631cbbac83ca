--- kt new: writes one of scripts/examples from the binary to a file, unmodified; without a name, lists them.
---
--- The first line of an example is a comment that says what it does; the list shows it.
local core = require "kt.core"
local schema = require "kt.schema"

local name, file = ...

local examples = core.examples()
local names, widest = {}, 0
for known in pairs(examples) do
  names[#names + 1] = known
  widest = math.max(widest, #known)
end
table.sort(names)

local function fail(text)
  core.stderr("kt new: " .. text .. "\n")
  core.exit(1)
end

local function list()
  local lines = { "usage: kt new NAME [FILE]\n" }
  for _, known in ipairs(names) do
    lines[#lines + 1] = ("  %-" .. widest .. "s  %s"):format(known, examples[known]:match "^%-%- ([^\n]+)")
  end
  core.stdout(table.concat(lines, "\n") .. "\n")
  core.exit(0)
end

if not name then list() end
name = name:gsub("%.lua$", "")
local text = examples[name]
if not text then
  local near = schema.suggest(name, names)
  fail(("unknown example %s; %s"):format(name, near and ("did you mean %s?"):format(near) or schema.one_of(names)))
end
if file == "-" then
  core.stdout(text)
  core.exit(0)
end
file = file or name .. ".lua"
local ok, err = core.create_file(file, text)
if not ok then fail(tostring(err)) end
core.stdout(("wrote %s; edit it, then: kt check %s\n"):format(file, file))
core.exit(0)
