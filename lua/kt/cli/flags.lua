--- Parses a command line like Go's flag package, because kcptun's users write theirs for it: flags have one dash or two; a value
--- follows after a space or "=" and may look like a flag; a boolean flag takes a value only with "="; numbers and booleans have
--- Go's spellings. Pure; depends only on kt.schema.
local suggest = require "kt.schema".suggest

local flags = {}

local bools = {
  ["1"] = true, t = true, T = true, ["true"] = true, TRUE = true, True = true,
  ["0"] = false, f = false, F = false, ["false"] = false, FALSE = false, False = false,
}

--- Parses a boolean; nil if the text is not one.
function flags.bool(text) return bools[text] end

local prefixes = { { "^0[xX](.+)", 16 }, { "^0[bB](.+)", 2 }, { "^0[oO](.+)", 8 }, { "^0(.+)", 8 } }

--- Parses an integer; nil if the text is not one. As in Go, 0x10, 0b11, 0o17, 017 (octal) and 1_000 are integers.
function flags.int(text)
  local sign, digits = text:match "^([+-]?)(%w[%w_]*)$"
  if not digits or digits:find "__" or digits:find "_$" then return nil end
  local base = 10
  for _, prefix in ipairs(prefixes) do
    local rest = digits:match(prefix[1])
    if rest then
      digits, base = rest, prefix[2]
      break
    end
  end
  local n = 0.0 -- a float: large numbers lose precision, but they are out of range anyway
  for digit in digits:gsub("_", ""):gmatch "." do
    local value = tonumber(digit, 36)
    if value >= base then return nil end
    n = n * base + value
  end
  if n >= 2.0 ^ 63 then return nil end
  n = math.tointeger(n)
  return sign == "-" and -n or n
end

local function unknown(arg, name, by_flag)
  local names = {}
  for known in pairs(by_flag) do names[#names + 1] = known end
  table.sort(names)
  local near = suggest(name, names)
  return ("%s: unknown flag%s"):format(arg:match "^[^=]*", near and ("; did you mean %s%s?"):format(#near > 1 and "--" or "-", near) or "")
end

--- Parses `args` to a list of { row, text, as }: text is nil for a boolean flag without a value, and `as` is the flag's name for
--- messages. by_flag: rows by flag name. Returns nil and a message on a mistake.
function flags.read(args, by_flag)
  local found, i = {}, 1
  while i <= #args do
    local arg = args[i]
    if arg == "--" and i == #args then break end
    local name, equals, text = arg:match "^%-%-?([^-=][^=]*)(=?)(.*)$"
    if not name then
      local last = found[#found]
      if last and last.row.type == "bool" and not last.text then
        return nil, ("\"%s\" after %s: write %s=%s"):format(arg, last.as, last.as, arg)
      end
      return nil, ("expected a flag, got \"%s\"; kcptun would ignore it and every flag after it"):format(arg)
    end
    local row = by_flag[name]
    if not row then return nil, unknown(arg, name, by_flag) end
    local as = (#name > 1 and "--" or "-") .. name
    if equals == "" then text = nil end
    if row.type ~= "bool" and not text then
      i = i + 1
      text = args[i]
      if not text then return nil, as .. ": expected a value" end
    end
    found[#found + 1] = { row = row, text = text, as = as }
    i = i + 1
  end
  return found
end

return flags
