-- kt.resolve as scripts use it: the real kt, and a name server in the spec.
local dns = require "harness.dns"
local h = require "harness"
local message = require "dns_message"
local scripts = require "harness.scripts"

local kt = scripts.kt

-- How the scripts below print a result: each record's fields in order, or the code and the sentence.
local SHOW = [[
local function show(records, err)
  if not records then return print(err.code .. ": " .. tostring(err)) end
  for _, r in ipairs(records) do
    print(r.address or ("%%s:%%d %%d/%%d"):format(r.target, r.port, r.priority, r.weight), r.ttl)
  end
end
]]

describe("kt.resolve", function()
  local s = scripts.each(before_each, after_each)
  local server

  --- The output of a script that asks the server in the spec: `what` is a list of tables' insides.
  local function ask(...)
    local lines = {}
    for i, what in ipairs { ... } do
      lines[i] = ('show(kt.resolve { servers = { "%s" }, %s })'):format(server.at, what)
    end
    return s.task((SHOW .. table.concat(lines, "\n")):gsub("%%%%", "%%"):gsub("%%", "%%%%"))
  end

  --- The same for one name that has nothing but this entry.
  local function ask_entry(entry, kind)
    server.zone["x.test"] = entry
    return ask(('name = "x.test", type = "%s"'):format(kind or "A"))
  end

  local function with_server(body)
    return function()
      h.run(function()
        server = dns.serve {}
        body()
      end)
    end
  end

  it("gives the addresses of a name and their TTL", with_server(function()
    server.zone["x.test"] = { A = { "192.0.2.1", "192.0.2.2" }, AAAA = { "2001:db8::1" }, ttl = 77 }
    assert.equal("192.0.2.1\t77\n192.0.2.2\t77\n192.0.2.1\t77\n192.0.2.2\t77\n2001:db8::1\t77\n",
      ask('name = "x.test"', 'name = "x.test", type = "A"', 'name = "X.tEst.", type = "AAAA"'))
  end))

  it("gives SRV records by priority, in stable order, with their weights", with_server(function()
    server.zone["_kt._udp.x.test"] = { ttl = 30, SRV = {
      { target = "c.test", port = 3, priority = 20, weight = 1 },
      { target = "b.test", port = 2, priority = 5, weight = 10 },
      { target = "d.test", port = 65535, priority = 20, weight = 65535 },
      { target = "a.test", port = 1 },
    } }
    assert.equal("a.test:1 0/0\t30\nb.test:2 5/10\t30\nc.test:3 20/1\t30\nd.test:65535 20/65535\t30\n",
      ask 'name = "_kt._udp.x.test", type = "SRV"')
  end))

  it("follows CNAMEs, with the lowest TTL of the chain", with_server(function()
    server.zone["x.test"] = { CNAME = "y.test", ttl = 300 }
    server.zone["y.test"] = { CNAME = "z.test", ttl = 9 }
    server.zone["z.test"] = { A = { "192.0.2.9" }, SRV = { { target = "t.test", port = 9 } }, ttl = 60 }
    assert.equal("192.0.2.9\t9\nt.test:9 0/0\t9\n", ask('name = "x.test"', 'name = "x.test", type = "SRV"'))
  end))

  it("finds no records behind a chain of CNAMEs that leads nowhere, or in a circle", with_server(function()
    server.zone["y.test"] = { CNAME = "x.test" }
    assert.equal("name: x.test: the name has no A records\n", ask_entry { CNAME = "y.test" })
    assert.equal("name: x.test: the name has no A records\n", ask_entry { CNAME = "gone.test" })
  end))

  it("keeps a TTL within 1 s and a day", with_server(function()
    for ttl, seconds in pairs { [0] = 1, [1] = 1, [86401] = 86400, [0x7fffffff] = 86400, [0x80000000] = 1, [0xffffffff] = 1 } do
      assert.equal("192.0.2.1\t" .. seconds .. "\n", ask_entry { A = { "192.0.2.1" }, ttl = ttl })
    end
    assert.equal("t.test:1 0/0\t1\n", ask_entry({ SRV = { { target = "t.test", port = 1 } }, ttl = 0 }, "SRV"))
  end))

  it("distinguishes a name that does not exist from one without such records", with_server(function()
    assert.equal("name: x.test: no such name\n", ask_entry(nil))
    assert.equal("name: x.test: the name has no SRV records\n", ask_entry({ A = { "192.0.2.1" } }, "SRV"))
  end))

  it("distinguishes a failing server from a failing name", with_server(function()
    for _, rcode in ipairs { "SERVFAIL", "REFUSED", "NOTIMP", "FORMERR" } do
      assert.matches("^io: x%.test: ", ask_entry { rcode = rcode })
    end
  end))

  it("reports a server that refuses", with_server(function()
    server.close()
    assert.equal("io: x.test: no name server can be reached, or none of them would answer\n", ask_entry(nil))
  end))

  it("asks by TCP when an answer was truncated", with_server(function()
    assert.equal("192.0.2.1\t300\n", ask_entry { A = { "192.0.2.1" }, truncate = true })
    assert.same({ "udp", "tcp" }, { server.asked[1].how, server.asked[2].how })
  end))

  it("takes at most 64 records of an answer, of SRV those of the best priorities", with_server(function()
    local a, srv = {}, {}
    for i = 1, 200 do
      a[i] = "192.0.2." .. i
      srv[i] = { target = "t.test", port = i, priority = 200 - i }
    end
    local _, lines = ask_entry({ A = a }):gsub("192%.0%.2%.%d+\t300\n", "")
    assert.equal(64, lines)
    local text = ask_entry({ SRV = srv }, "SRV")
    local first, n = text:match "^t%.test:(%d+)", 0
    assert.equal("200", first)
    for port in text:gmatch "t%.test:(%d+) " do
      assert.equal(200 - n, tonumber(port))
      n = n + 1
    end
    assert.equal(64, n)
  end))

  it("leaves out unusable SRV records", with_server(function()
    local long = (("a"):rep(60) .. "."):rep(4) .. "test" -- 248 bytes: still a name
    assert.equal("good.test:1 0/0\t300\n" .. long .. ":6 0/0\t300\n", ask_entry({ SRV = {
      { target = "good.test", port = 1 },
      { target = "no port", port = 0 },
      { target = "a b.test", port = 2 },
      { target = "nul\0.test", port = 3 },
      { target = "\xff\xfe.test", port = 4 },
      { target = "192.0.2.1", port = 5 },
      { target = long, port = 6 },
      { target = ("\1"):rep(63) .. "." .. ("\1"):rep(63), port = 7 },
    } }, "SRV"))
    assert.equal("name: x.test: none of its SRV records is usable\n", ask_entry({ SRV = { { target = "", port = 1 } } }, "SRV"))
  end))

  it("gives up at the timeout", with_server(function()
    local began = h.loop.now()
    server.zone["x.test"] = { silent = true }
    assert.equal("timeout: kt.resolve: no answer within 0.3 s\n", ask 'name = "x.test", timeout = "300ms"')
    assert.is_true(h.loop.now() - began < 5)
  end))

  it("asks again when an answer is lost", with_server(function()
    local n = 0
    assert.equal("192.0.2.1\t300\n", ask_entry { raw = function(question)
      n = n + 1
      return n == 2 and message.answer(question, { message.record("x.test", "A", "192.0.2.1") }) or nil
    end })
    assert.equal(2, server.count("x.test", "A"))
  end))

  it("asks the next server when one does not answer, refuses or fails", with_server(function()
    local bad = dns.serve { ["silent.test"] = { silent = true }, ["refused.test"] = { rcode = "REFUSED" }, ["failed.test"] = { rcode = "SERVFAIL" } }
    for name in pairs(bad.zone) do server.zone[name] = { A = { "192.0.2.1" } } end
    for name in pairs(bad.zone) do
      assert.equal("192.0.2.1\t300\n", s.task(SHOW:gsub("%%%%", "%%%%%%%%") .. [[
show(kt.resolve { name = "%s", servers = { "%s", "%s" } })]], name, bad.at, server.at))
    end
    assert.is_true(bad.count() >= 3)
  end))

  -- Possible answers of a server that is hostile or broken, or of an attacker that guessed the id.
  local function a(name, ttl, bytes) return message.record(name, "A", "192.0.2.1", ttl, bytes) end
  local hostile = {
    ["nothing"] = function() return "" end,
    ["one byte"] = function() return "x" end,
    ["half a header"] = function(q) return message.answer(q, {}):sub(1, 7) end,
    ["a header alone"] = function(q) return message.answer(q, {}):sub(1, 12) end,
    ["another id"] = function(q) return message.answer({ id = q.id ~ 1, raw = q.raw }, { a "x.test" }) end,
    ["another question"] = function(q)
      return message.answer({ id = q.id, raw = message.name "y.test" .. "\0\1\0\1" }, { a "y.test" })
    end,
    ["a question, not an answer"] = function(q) return message.answer(q, {}, nil, 0x0100) end,
    ["more records promised than there are"] = function(q) return message.answer(q, { a "x.test" }, nil, nil, 9) end,
    ["65535 records promised"] = function(q) return message.answer(q, {}, nil, nil, 65535) end,
    ["a record cut off"] = function(q) return message.answer(q, { a "x.test" }):sub(1, -3) end,
    ["a record's length beyond the end"] = function(q)
      return message.answer(q, { message.name "x.test" .. "\0\1\0\1\0\0\0\1\xff\xff\1\2\3\4" })
    end,
    ["an address of three bytes"] = function(q) return message.answer(q, { a("x.test", 1, "\1\2\3") }) end,
    ["an address of no bytes"] = function(q) return message.answer(q, { a("x.test", 1, "") }) end,
    ["a name that points at itself"] = function(q)
      local at = 12 + #q.raw
      return message.answer(q, { string.pack(">I2", 0xc000 | at) .. "\0\1\0\1\0\0\0\1\0\4\1\2\3\4" })
    end,
    ["a name that points beyond the end"] = function(q)
      return message.answer(q, { "\xff\xff\0\1\0\1\0\0\0\1\0\4\1\2\3\4" })
    end,
    ["a label of a reserved kind"] = function(q)
      return message.answer(q, { "\x80x\0\0\1\0\1\0\0\0\1\0\4\1\2\3\4" })
    end,
    ["an SRV record of two bytes"] = function(q) return message.answer(q, { message.record("x.test", "SRV", nil, 1, "\0\1") }) end,
    ["an SRV target that points at itself"] = function(q)
      local at = 12 + #q.raw + #message.name "x.test" + 10 + 6
      return message.answer(q, { message.record("x.test", "SRV", nil, 1, "\0\1\0\1\0\1" .. string.pack(">I2", 0xc000 | at)) })
    end,
    ["a CNAME that points at itself"] = function(q)
      local at = 12 + #q.raw + #message.name "x.test" + 10
      return message.answer(q, { message.record("x.test", "CNAME", nil, 1, string.pack(">I2", 0xc000 | at)) })
    end,
    ["64 KiB of noise"] = function(q, how)
      local noise = message.answer(q, {}, nil, how == "udp" and 0x8380 or 0x8180, 4000) .. ("\x3fnoise"):rep(20000)
      return noise:sub(1, how == "udp" and 500 or 65535)
    end,
    ["always truncated"] = function(q) return message.answer(q, {}, nil, 0x8380) end,
  }

  it("turns invalid answers into an err; other lookups get their answers", with_server(function()
    local lines = {}
    server.zone["good.test"] = { A = { "192.0.2.7" }, SRV = { { target = "t.test", port = 7 } } }
    local names = {}
    for what, raw in pairs(hostile) do
      names[#names + 1] = what
      local name = ("h%d.test"):format(#names)
      server.zone[name] = { raw = raw }
      for _, kind in ipairs { "A", "AAAA", "SRV" } do
        lines[#lines + 1] = ('ask("%s", "%s")'):format(name, kind)
        lines[#lines + 1] = 'ask("good.test", "A")'
      end
    end
    local out = s.task((([[
local n, good, bad = 0, 0, 0
local function ask(name, kind)
  n = n + 1
  kt.spawn(function()
    local records, err = kt.resolve { name = name, type = kind, servers = { "@" }, timeout = "1500ms" }
    if records and name == "good.test" and records[1].address == "192.0.2.7" then good = good + 1
    elseif not records and (err.code == "timeout" or err.code == "protocol" or err.code == "name") then bad = bad + 1
    else print(name, kind, records and records[1].address, err) end
    n = n - 1
    if n == 0 then print(good, bad) end
  end)
end
]]):gsub("@", server.at) .. table.concat(lines, "\n")):gsub("%%", "%%%%"))
    assert.equal(("%d\t%d\n"):format(#names * 3, #names * 3), out)
  end))

  it("reports an invalid answer with the right id and question", with_server(function()
    for _, what in ipairs { "a record cut off", "a record's length beyond the end", "65535 records promised" } do
      assert.equal("protocol: x.test: the name server's answer cannot be read\n", ask_entry { raw = hostile[what] })
    end
    assert.equal("protocol: x.test: the name server's answer cannot be read\n",
      ask_entry({ raw = hostile["an SRV target that points at itself"] }, "SRV"))
  end))

  it("refuses an invalid name, without asking a server", with_server(function()
    local label = ("a"):rep(64)
    local out = ask('name = ""', 'name = "."', 'name = "a..b"', 'name = ".a"', 'name = "a b"', 'name = "a\\0b"', 'name = "\\n"',
      ('name = "%s.test"'):format(label), ('name = ("a."):rep(127) .. "b"'), 'name = ("a"):rep(1 << 20)', 'name = "b\xc3\xbccher.test"',
      'name = "192.0.2.1"', 'name = "::1"', 'name = "x:80"')
    assert.equal(([[
name: "": the name is empty
name: ".": invalid name; a label between dots is empty
name: "a..b": invalid name; a label between dots is empty
name: ".a": invalid name; a label between dots is empty
name: "a b": invalid name; between dots it may contain only letters, digits, '-' and '_'
name: "a": not a name; it contains a zero byte
name: "?": invalid name; between dots it may contain only letters, digits, '-' and '_'
name: "%s...": 64 bytes between two dots; at most 63 are allowed
name: "%s...": 255 bytes; a name may have at most 253
name: "%s...": 1048576 bytes; a name may have at most 253
name: "b%s": invalid name; write non-ASCII letters as xn--...
name: "192.0.2.1": expected a name, got an address
name: "::1": expected a name, got an address
name: "x:80": invalid name; between dots it may contain only letters, digits, '-' and '_'
]]):format(label, ("a."):rep(32), label, "\xc3\xbccher.test"), out)
    assert.equal(0, server.count())
  end))

  it("accepts names of the maximum length", with_server(function()
    local longest = ("a"):rep(63) .. "." .. ("b"):rep(63) .. "." .. ("c"):rep(63) .. "." .. ("d"):rep(61)
    assert.equal(253, #longest)
    server.zone[longest] = { A = { "192.0.2.1" } }
    assert.equal("192.0.2.1\t300\n192.0.2.1\t300\n", ask(('name = "%s"'):format(longest), ('name = "%s."'):format(longest)))
  end))

  it("looks up many names at once", with_server(function()
    for i = 1, 500 do server.zone["n" .. i .. ".test"] = { A = { ("192.0.%d.%d"):format(i // 256, i % 256) } } end
    assert.equal("500\t500\n", s.task([[
local n, right = 0, 0
for i = 1, 500 do
  kt.spawn(function()
    local records, err = kt.resolve { name = "n" .. i .. ".test", servers = { "%s" }, timeout = "20s" }
    if not records then print(err) end
    if records and records[1].address == ("192.0.%%d.%%d"):format(i // 256, i %% 256) then right = right + 1 end
    n = n + 1
    if n == 500 then print(n, right) end
  end)
end]], server.at))
  end))

  it("refuses lookups beyond the limit, and accepts more when some are done", with_server(function()
    server.zone["silent.test"] = { silent = true }
    server.zone["x.test"] = { A = { "192.0.2.1" } }
    assert.equal("limit\t176\ntimeout\t1024\n192.0.2.1\n", s.task([[
local n, codes = 0, {}
for i = 1, 1200 do
  kt.spawn(function()
    local _, err = kt.resolve { name = "silent.test", servers = { "%s" }, timeout = "500ms" }
    codes[err.code] = (codes[err.code] or 0) + 1
    n = n + 1
  end)
end
repeat kt.sleep "50ms" until n == 1200
for _, code in ipairs { "limit", "timeout" } do print(code, codes[code]) end
print(kt.resolve { name = "x.test", servers = { "%s" } }[1].address)]], server.at, server.at))
  end))

  it("is called off with its task, when the script ends", with_server(function()
    server.zone["x.test"] = { silent = true }
    local p = s.start([[
kt.listen { on = "127.0.0.1:0" }:serve(function() end)
kt.spawn(function() kt.resolve { name = "x.test", servers = { "%s" }, timeout = "1h" } print "no" end)]], server.at)
    h.loop.eventually("a question", 10, function() return server.count("x.test") > 0 end)
    assert.equal(0, p:stop())
    assert.equal("", p.stdout)
  end))

  -- The system's own servers, in a network and with a resolv.conf of the script's own.
  local apart = os.execute "unshare --map-root-user --mount --net ip link set lo up 2>/dev/null" and it or pending

  --- Starts a script that is itself the name server at port 53 of each address and answers with that address.
  local function start_apart(prepare, addresses, body)
    s.write("s.lua", ([[
local kt = require "kt"
for address in ("%s"):gmatch "%%S+" do
  local socket = kt.udp { on = address .. ":53" }
  kt.spawn(function()
    while true do
      local q, from = socket:receive { timeout = "1h" }
      if not q:find "silent" then socket:send(q:sub(1, 2) .. "\x81\x80\0\1\0\1\0\0\0\0" .. q:sub(13) .. "\xc0\x0c\0\1\0\1\0\0\0\5\0\4"
        .. address:gsub("%%.?(%%d+)", function(n) return string.char(n) end), from) end
    end
  end)
end
kt.spawn(function() %s end)]]):format(addresses, body))
    return h.start { name = "kt", cwd = s.dir, cmd = { "unshare", "--map-root-user", "--mount", "--net", "sh", "-c",
      ("ip link set lo up && %s && exec %s run s.lua"):format(prepare, kt) } }
  end

  apart("asks the servers of resolv.conf, as it is when it asks", function()
    h.run(function()
      s.write("resolv.conf", "nameserver 127.0.0.2\n")
      local p = start_apart("mount --bind resolv.conf /etc/resolv.conf", "127.0.0.2 127.0.0.3", [[
        for _ = 1, 2 do -- questions that are always out, as where a server has gone
          kt.spawn(function() while true do kt.resolve { name = "silent.test", timeout = "300ms" } end end)
          kt.sleep "150ms"
        end
        local before
        while true do
          local now = assert(kt.resolve { name = "x.test" })[1].address
          if now ~= before then print(now) end
          before = now
          kt.sleep "20ms"
        end]])
      p:expect "127.0.0.2\n"
      s.write("resolv.conf", "nameserver 127.0.0.3\n")
      p:expect "127.0.0.3\n"
      assert.equal(0, p:stop())
    end)
  end)

  apart("asks the local machine without a resolv.conf", function()
    h.run(function()
      local p = start_apart("mount -t tmpfs none /etc", "127.0.0.1", [[
        print(assert(kt.resolve { name = "x.test" })[1].address)]])
      p:expect "127.0.0.1\n"
      assert.equal(0, p:stop())
    end)
  end)

  it("is only for tasks", function()
    h.run(function()
      local code, _, err = s.run [[kt.resolve { name = "x.test" }]]
      assert.equal(1, code)
      assert.matches("s.lua:2: kt.resolve: not allowed in the main chunk", err)
    end)
  end)

  it("explains invalid arguments", with_server(function()
    assert.equal([[
kt.resolve.name: missing; expected a host's name
kt.resolve.name: expected a string, got 5
kt.resolve.type: unknown value "a"; did you mean "A"?
kt.resolve.type: unknown value "MX"; expected one of "A", "AAAA", "SRV"
kt.resolve.timeout: expected a duration such as "5s", "800ms", "10m", "1h30m", or a number of seconds, got "soon"
kt.resolve.server: unknown key; did you mean servers?
kt.resolve.servers: expected a list, got "127.0.0.1"
kt.resolve.servers: expected 1 to 8 name servers, got 0
kt.resolve.servers: expected 1 to 8 name servers, got 9
kt.resolve.servers[1]: expected a name server's IP address, got 5
kt.resolve.servers[2]: "dns.test"; expected a name server's IP address, such as "9.9.9.9", "127.0.0.1:5353" or "[::1]:53"
kt.resolve.servers[1]: "127.0.0.1:0"; expected a name server's IP address, such as "9.9.9.9", "127.0.0.1:5353" or "[::1]:53"
kt.resolve.servers[1]: "127.0.0.1": contains a zero byte
kt.resolve.servers.also: unexpected key in a list; write the elements in order: { a, b }
kt.resolve.servers[2]: missing; expected a name server's IP address
kt.resolve: expected a table, got no value
]], s.task [[
local function wrong(t)
  local ok, err = pcall(kt.resolve, t)
  print(not ok and err:gsub("^s.lua:%%d+: ", "") or "no error")
end
local function printed(...) wrong(...) end
printed {}
printed { name = 5 }
printed { name = "x", type = "a" }
printed { name = "x", type = "MX" }
printed { name = "x", timeout = "soon" }
printed { name = "x", server = {} }
printed { name = "x", servers = "127.0.0.1" }
printed { name = "x", servers = {} }
printed { name = "x", servers = { "::1", "::1", "::1", "::1", "::1", "::1", "::1", "::1", "::1" } }
printed { name = "x", servers = { 5 } }
printed { name = "x", servers = { "::1", "dns.test" } }
printed { name = "x", servers = { "127.0.0.1:0" } }
printed { name = "x", servers = { "127.0.0.1\0" } }
printed { name = "x", servers = { "::1", also = "::1" } }
printed { name = "x", servers = { "::1", nil, "::1" } }
printed()]])
  end))
end)
