--- The verbs that measure the path to a server, as one table: help, man pages and completions are made from it. Pure.
local units = require "kt.units"
local verbs = require "kt.cli.verbs"

local measuring = { FINE = 0, FINDINGS = 1, UNREACHABLE = 2, INTERRUPTED = 130, by_name = {} }

local shared = {
  { name = "json", doc = "print JSON, for other programs" },
  { name = "key", arg = "KEY", doc = "shared secret, as that of kt client; also $KCPTUN_KEY" },
  { name = "wire", arg = "NAME", doc = "protocol: auto, kt or kcptun" },
  { name = "crypt", arg = "NAME", doc = "cipher, of kcptun's wire" },
  { name = "privatekey", arg = "FILE", doc = "this end's private key; requires --serverkey" },
  { name = "serverkey", arg = "KEY", doc = "the server's public key" },
  { name = "c", arg = "FILE", doc = "read settings from a JSON file of kt client" },
  { name = "help", short = "h", doc = "show this help" },
}

local EXITS = " Exits with 0 if all is well, 1 if %s, 2 if the server cannot be reached or a flag is wrong, 130 on Ctrl-C%s."

local function verb(row)
  row.nobody, row.operands = true, { "REMOTE" }
  row.doc = row.doc .. EXITS:format(row.bad, row.interrupted)
    .. " Also accepts the kt client flags that set up the link. REMOTE is host:port; it may be omitted with -c or -r."
  table.move(shared, 1, #shared, #row.flags + 1, row.flags)
  measuring.by_name[row.name] = row
end

verb {
  name = "ping", bad = "nothing came back", interrupted = " before the first datagram; after it, Ctrl-C prints the summary and exits with 0 or 1",
  flags = {
    { name = "count", arg = "N", default = 10, min = 1, max = 100000, doc = "send N datagrams (default 10)" },
    { name = "every", arg = "TIME", default = 1, min = 0.01, max = 60, doc = "time between them, such as 200ms or 0.2 (default 1s)" },
  },
  doc = "Measure the round trip to a kt server through an encrypted link. A kt server answers datagrams, so loss and order are seen each way. Any "
    .. "other server (kcptun, a script) shows only the link's own round trips, which include retransmissions.",
}
verb {
  name = "speed", bad = "one direction failed", interrupted = ", without a result",
  flags = { { name = "seconds", arg = "N", default = 5, min = 1, max = 15, doc = "measure each direction for N seconds (default 5)" } },
  doc = "Measure the bandwidth to a kt server and back through an encrypted link, as its congestion control finds it. Needs kt's wire, and a kt "
    .. "server that was not started with --nodiagnose.",
}
verb {
  name = "doctor", bad = "there is something to change", interrupted = ", after printing the results so far",
  flags = {
    { name = "count", arg = "N", default = 300, min = 10, max = 100000, doc = "measure loss with N datagrams, 50 a second (default 300)" },
    { name = "seconds", arg = "N", default = 4, min = 0, max = 15, doc = "measure bandwidth for N seconds each way (default 4); 0: do not" },
    { name = "nat", arg = "N", default = 0, min = 0, max = 110, doc = "also measure how long a NAT keeps a mapping, up to N seconds (10 to 110)" },
  },
  doc = "Find out what is wrong with the path to a server: each of its addresses, key and version, clock, loss and order each way, round trip, "
    .. "bandwidth, queues, policing, path MTU, NAT and the limits of socket buffers. Says what to change. Loads the path fully for about 20 s, or for "
    .. "a minute if loss seems to depend on the rate. Against a server that is not kt it measures less, and says why.",
}

--- Splits a command line after the verb: returns the values of the verb's own flags, by name, and the arguments for kt client. Or nil and a
--- sentence.
function measuring.read(row, args)
  local own, values, rest, i = {}, {}, {}, 1
  for _, flag in ipairs(row.flags) do
    if flag.min or flag.name == "json" or flag.name == "help" then own["--" .. flag.name], own["-" .. (flag.short or flag.name)] = flag, flag end
    values[flag.name] = flag.default
  end
  if args[1] and not args[1]:find "^%-" then rest[1], i = "--remoteaddr=" .. args[1], 2 end
  while args[i] do
    local name, given = args[i]:match "^(%-%-?[^=]+)=?(.*)$"
    local flag = own[name]
    if flag and flag.min then
      if not args[i]:find "=" then
        i = i + 1
        given = args[i] or ""
      end
      local whole, n = flag.arg == "N", tonumber(given)
      if not whole then n = units.duration(n or given) end
      if not n or n ~= n or n < flag.min or n > flag.max or (whole and not math.tointeger(n)) then
        return nil, ('%s: expected %s from %g to %d, got "%s"'):format(name, whole and "an integer" or "seconds, or a duration such as 200ms,",
          flag.min, flag.max, given)
      end
      values[flag.name] = whole and math.tointeger(n) or n
    elseif flag then
      values[flag.name] = true
    else
      rest[#rest + 1] = args[i]
    end
    i = i + 1
  end
  return values, rest
end

function measuring.help(row) return verbs.help(row) end

return measuring
