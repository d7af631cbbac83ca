--- The sources of the scripts being checked, by Lua's chunk names.
local core = require "kt.core"
local literals = require "kt.check.literals"
local parse = require "kt.check.parse"
local tokens = require "kt.check.tokens"

local sources = { path = nil, cache = {} }

--- Resolves a chunk name: Lua shortens long paths to "...the/end/of.lua".
function sources.file(name)
  local rest = name:match "^%.%.%.(.+)$"
  if rest and sources.path and sources.path:sub(-#rest) == rest then return sources.path end
  return name
end

--- The file of a module, beside the script or in the folder of --path; nil if there is none.
function sources.module_file(name)
  local path = core.module_path()
  for _, folder in ipairs { sources.path:match "^(.*/)" or "", path and path:gsub("/?$", "/", 1) } do
    for _, shape in ipairs { "%s%s.lua", "%s%s/init.lua" } do
      local file = shape:format(folder, (name:gsub("%.", "/")))
      if #sources.tokens(file) > 0 then return file end
    end
  end
end

--- The files to check: the script, and the modules that it requires.
function sources.all()
  local files = { sources.path }
  local seen = { [sources.path] = true }
  for _, file in ipairs(files) do -- grows during the loop
    local list = sources.tokens(file)
    for i, token in ipairs(list) do
      local first = token.text == "require" and token.kind == "name" and literals.argument(list, i + 1, 1)
      local name = first and list[first].kind == "string" and list[first].value
      local module = name and name ~= "kt" and sources.module_file(name)
      if module and not seen[module] then
        files[#files + 1] = module
        seen[module] = true
      end
    end
  end
  return files
end

local parsed = {}

--- The nodes of a file (kt.check.parse).
function sources.parsed(file)
  if not parsed[file] then
    parsed[file] = parse.of(sources.tokens(file))
    parsed[file].path = file
  end
  return parsed[file]
end

--- The tokens of a file; an empty list if it cannot be read or is not valid Lua.
function sources.tokens(file)
  local found = sources.cache[file]
  if found then return found end
  local text = core.read_file(file, 8 << 20)
  text = text and text:gsub("^\xEF\xBB\xBF", "")
  found = text and load((text:gsub("^#[^\n]*", "")), "=" .. file, "t") and tokens.of(text) or {}
  sources.cache[file] = found
  return found
end

--- The line and the column of a key in the table passed to a call; the call's line if the key is not in the source.
--- name: "kt.link"; path: "kcp.sndwind", relative to that table.
function sources.place_of(file, line, name, path)
  local list, last = sources.tokens(file), name:match "[%w_]+$"
  local keys = literals.keys(path)
  for i, token in ipairs(list) do
    if token.line >= line and token.kind == "name" and token.text == last then
      for n = 1, 3 do
        local first = literals.argument(list, i + 1, n)
        if not first then break end
        if literals.text(list, first) == "{" then
          local found = list[literals.place(list, first, keys)]
          return found.line, found.column
        end
      end
      if token.line > line then break end
    end
  end
  return line
end

return sources
