--- The verbs that talk to a running kt, as one table: help, man pages and completions are made from it. Pure.
local verbs = {}

verbs.NONE = 2 -- exit code: no such instance, or several and none was named

local json = { name = "json", doc = "print JSON, for other programs" }

local function verb(row)
  row.flags = row.flags or {}
  table.insert(row.flags, { name = "control", arg = "PATH", doc = "the control socket, instead of looking for a NAME" })
  table.insert(row.flags, { name = "help", short = "h", doc = "show this help" })
  verbs[#verbs + 1] = row
end

-- operands: the names of the arguments after the instance's; optional: the values of the last one, which may be missing.
verb {
  name = "status", flags = {
    json, { name = "conns", arg = "N", doc = "show at most N conns and streams, 0 to 5000 (default 1000)" },
  },
  doc = "Show links, pools, listeners, conns and memory of a running kt.",
}
verb {
  name = "top",
  doc = "Show links, conns and streams of a running kt with their rates, on the whole terminal, once a second. Keys: q quits; Tab shows "
    .. "links and conns, links, or conns; i, o, a, n sort by bytes in, bytes out, age, name; r reverses; arrows and Page keys scroll.",
}
verb {
  name = "list", flags = { json, { name = "names", doc = "print only names, one per line" } }, nobody = true,
  doc = "List running instances of kt that this user may control.",
}
verb {
  name = "drain",
  flags = { { name = "wait", doc = "return once the process has ended" } },
  doc = "Make a running kt accept nothing more and end once its conns have ended, or after its drain timeout, as SIGTERM does.",
}
verb {
  name = "log", operands = { "LEVEL" },
  optional = { debug = true, info = true, warn = true, error = true, quiet = true },
  doc = "Set the log level: debug, info, warn, error or quiet. Without a LEVEL, show it. It also applies after a reload.",
}
verb {
  name = "events", flags = { json },
  doc = "Print a line for each event, until interrupted: when a link or a pool's link goes up or down, a pool switches, the script is "
    .. "reloaded, or a task fails.",
}
verb {
  name = "close", operands = { "CONN" },
  doc = "Close a conn or a stream, and the one it is spliced with. CONN is its number in kt status.",
}
verb {
  name = "trace", operands = { "LINK", "FILE" },
  flags = {
    { name = "packets", arg = "N", doc = "end after N packets" },
    { name = "seconds", arg = "N", doc = "end after N seconds" },
  },
  doc = "Write the packets of a link, or of all links of a listener, to FILE as pcapng, until interrupted: decrypted, as UDP datagrams with "
    .. "their real addresses as far as known. LINK is its name in kt status. Packets that cannot be written fast enough are left out and counted. "
    .. "FILE then holds what the tunnel carries: keep it as safe as a key.",
}
verb {
  name = "repl",
  flags = { { name = "timeout", arg = "SECONDS", doc = "stop code that takes longer, 1 to 600 (default 10)" } },
  doc = "Read expressions and statements from standard input, run each in a task of the script, and print its values. They see the script's "
    .. "globals, and kt. A statement may span several lines. Needs kt run --allow-eval. For editing and a history, run it under rlwrap. "
    .. "Exits with 1 if something failed and standard input is not a terminal.",
}
-- kt reload has its own help (runtime/cli/reload.c), as it also works without a control socket.
verbs.by_name = {
  reload = {
    name = "reload", doc = "", flags = {
      { name = "control", arg = "PATH", doc = "" }, { name = "quiet", doc = "" },
    },
  },
}

for _, row in ipairs(verbs) do verbs.by_name[row.name] = row end

local function flag_named(row, arg)
  for _, flag in ipairs(row.flags) do
    if arg == "--" .. flag.name or (flag.short and arg == "-" .. flag.short) then return flag end
  end
  return nil
end

--- The parts of a command line after the verb: flags by name, and operands, of which `name` is the instance. Or nil and a sentence.
function verbs.read(row, args)
  local flags, rest, i = {}, {}, 1
  while args[i] do
    local arg = args[i]
    if arg:find "^%-." then
      local long, given = arg:match "^(%-%-[^=]+)=(.*)$"
      local flag = flag_named(row, long or arg)
      if not flag or (given and not flag.arg) then return nil, "unknown flag: " .. arg end
      local value = true
      if flag.arg then
        if not given then i = i + 1 end
        value = given or args[i]
        if not value then return nil, ("%s: expected a value"):format(arg) end
      end
      flags[flag.name] = value
    else
      rest[#rest + 1] = arg
    end
    i = i + 1
  end
  if flags.help then return flags, {} end
  local most = #(row.operands or {})
  local least = row.optional and most - 1 or most
  local operands = {}
  if row.optional and #rest == most and not row.optional[rest[most]] then most = least end
  if #rest > most and not row.nobody then operands.name = table.remove(rest, 1) end
  if #rest < least then return nil, "expected " .. row.operands[#rest + 1] end
  if #rest > most then return nil, "unexpected argument: " .. rest[#rest] end
  if operands.name and flags.control then return nil, "give a NAME or --control, not both" end
  for n, value in ipairs(rest) do operands[n] = value end
  return flags, operands
end

local function wrapped(words, columns)
  local list, line = {}, nil
  for word in words:gmatch "%S+" do
    if line and #line + 1 + #word > columns then list[#list + 1], line = line, nil end
    line = line and line .. " " .. word or word
  end
  list[#list + 1] = line
  return list
end

--- "kt log [NAME|PID] [LEVEL]"
function verbs.usage(row)
  local parts = { "kt " .. row.name, "[OPTION...]" }
  if not row.nobody then parts[#parts + 1] = "[NAME|PID]" end
  for i, operand in ipairs(row.operands or {}) do
    parts[#parts + 1] = row.optional and i == #row.operands and "[" .. operand .. "]" or operand
  end
  return table.concat(parts, " ")
end

function verbs.help(row)
  local out = { "usage: " .. verbs.usage(row), "" }
  for _, line in ipairs(wrapped(row.doc, 96)) do out[#out + 1] = line end
  if not row.nobody then out[#out + 1] = "If several instances run, name one, or give its process id; kt list shows them." end
  out[#out + 1] = ""
  local lefts, width = {}, 20
  for i, flag in ipairs(row.flags) do
    local name = #flag.name == 1 and "  -" or flag.short and "  -" .. flag.short .. ", --" or "      --"
    lefts[i] = name .. flag.name .. (flag.arg and " " .. flag.arg or "")
    width = math.max(width, #lefts[i])
  end
  for i, flag in ipairs(row.flags) do out[#out + 1] = ("%-" .. width .. "s   %s"):format(lefts[i], flag.doc) end
  return table.concat(out, "\n") .. "\n"
end

return verbs
