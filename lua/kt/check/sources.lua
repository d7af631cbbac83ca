--- The sources of the scripts under check, by the names that Lua gives their lines.
local core = require "kt.core"
local literals = require "kt.check.literals"
local tokens = require "kt.check.tokens"

local sources = { path = nil, cache = {} }

--- Lua shortens the name of a file that is far away to "...the/end/of.lua".
function sources.file(name)
  local rest = name:match "^%.%.%.(.+)$"
  if rest and sources.path and sources.path:sub(-#rest) == rest then return sources.path end
  return name
end

--- The files under check: the script, and the modules beside it that it names.
function sources.all()
  local files, folder = { sources.path }, sources.path:match "^(.*/)" or ""
  local seen = { [sources.path] = true }
  for _, file in ipairs(files) do -- grows while it is walked
    local list = sources.tokens(file)
    for i, token in ipairs(list) do
      local first = token.text == "require" and token.kind == "name" and literals.argument(list, i + 1, 1)
      local name = first and list[first].kind == "string" and list[first].value
      if name and name ~= "kt" then
        for _, shape in ipairs { "%s%s.lua", "%s%s/init.lua" } do
          local module = shape:format(folder, (name:gsub("%.", "/")))
          if not seen[module] and #sources.tokens(module) > 0 then files[#files + 1] = module end
          seen[module] = true
        end
      end
    end
  end
  return files
end

--- The tokens of a file; an empty list when it cannot be read, or is not Lua.
function sources.tokens(file)
  local found = sources.cache[file]
  if found then return found end
  local text = core.read_file(file, 8 << 20)
  text = text and text:gsub("^\xEF\xBB\xBF", "")
  found = text and load((text:gsub("^#[^\n]*", "")), "=" .. file, "t") and tokens.of(text) or {}
  sources.cache[file] = found
  return found
end

--- The line of a key in the table that a call was given; the call's own line if it is not written there.
--- name: "kt.link"; path: "kcp.sndwind", below that table.
function sources.line_of(file, line, name, path)
  local list, last = sources.tokens(file), name:match "[%w_]+$"
  local keys = literals.keys(path)
  for i, token in ipairs(list) do
    if token.line >= line and token.kind == "name" and token.text == last then
      for n = 1, 3 do
        local first = literals.argument(list, i + 1, n)
        if not first then break end
        if literals.text(list, first) == "{" then return literals.line_of(list, first, keys) end
      end
      if token.line > line then break end
    end
  end
  return line
end

return sources
