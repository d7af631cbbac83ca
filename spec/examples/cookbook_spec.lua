-- docs/cookbook.md: every recipe runs as it stands in the page, and does what it says.
local sim = require "kt.sim"

local function absolute(path) return path:sub(1, 1) == "/" and path or require("lfs").currentdir() .. "/" .. path end
local kt = absolute(os.getenv "KT_BIN" or "build/kt")

-- Pairs made by kt keygen --pair, for this spec and the page only.
local SERVER = { key = "tp01CrTZJFyRhhSvGJsFBsX87M+Li8Re7Bj42CDKtxg=", pub = "# kt public key\nekOArnGKLi2MKmcUM8bbkIP4W+FQOHNSHA++i1b2Flw=\n" }
local ALICE, BOB = "ICgTjdsxEeW+PxaePyE3oDQiKS21zSlkkAuPWcrEokw=", "7E4ilN5olbjinXMh1MTH0KW26REagwy5aShvuU3x2Dw="

-- The code of the page: recipes[title][file] = text. Indented lines are commands: recipes[title].commands.
local recipes, titles = {}, {}
do
  local title, block
  for line in io.lines "docs/cookbook.md" do
    if line:find "^## " then
      title = line:sub(4)
      titles[#titles + 1] = title
      recipes[title] = { commands = {} }
    elseif line == "```lua" then
      block = {}
    elseif line == "```" then
      recipes[title][block[1]:match "^%-%- (%S+%.lua)$"] = table.concat(block, "\n") .. "\n"
      block = nil
    elseif block then
      block[#block + 1] = line
    elseif title and line:find "^    " then
      table.insert(recipes[title].commands, (line:gsub("^%s+", "")))
    end
  end
end

-- A temporary folder, in which `kt` is the one that is tested.
local function folder()
  local path = os.tmpname()
  os.remove(path)
  assert(os.execute(("mkdir -p %s/bin && ln -s %s %s/bin/kt"):format(path, kt, path)))
  local at = {}
  function at.write(name, text)
    local file = assert(io.open(path .. "/" .. name, "w"))
    file:write(text)
    file:close()
  end
  function at.run(command)
    local pipe = io.popen(("cd %s && export PATH=%s/bin:$PATH && { %s; } 2>&1"):format(path, path, command))
    local said = pipe:read "a"
    pipe:close()
    return said
  end
  return setmetatable(at, { __close = function() os.execute("rm -r " .. path) end })
end

-- The proof of each recipe, by its title. `t` has the world and `run`, which runs a script of the recipe on a host.
local proofs = {}

describe("the cookbook", function()
  for _, title in ipairs(titles) do
    it(("has a recipe that works: %s"):format(title), function()
      local w = sim.world { seed = 3, files = { ["psk.key"] = "our secret" }, start = "2026-03-02 19:59" }
      local scripts = {}
      local t = { client = w:host "client", commands = recipes[title].commands }
      function t.run(host, name, opts)
        local text = recipes[title][name] or assert(io.open("scripts/examples/" .. name)):read "a"
        w:host(host):file("recipe/" .. name, text)
        scripts[#scripts + 1] = w:host(host):run("recipe/" .. name, opts)
        return scripts[#scripts]
      end
      -- A server with an echo service, which runs server.lua, at NAME.example; or at vps.example, without a script.
      function t.server(name, delay)
        w:host(name)
        w:link("client", name, { delay = delay or "20ms" })
        w:name(name .. ".example", name)
        w:host(name):serve { on = "127.0.0.1:8388", kind = "echo" }
        if name ~= "vps" then t.run(name, "server.lua") end
      end
      function t.users(n)
        for i = 1, n do w:link(w:host("user" .. i), "client", { delay = "1ms" }) end
      end
      -- server.lua on "vps", near.lua on the client, and n users of the client. Returns the client's script.
      function t.tunnel(n)
        t.server "vps"
        t.run("vps", "server.lua")
        t.users(n)
        return t.run("client", "near.lua")
      end
      function t.reached(from, to)
        local app <close> = w:host(from or "client"):connect(to or "127.0.0.1:12948")
        local reply = app:try_echo "hello"
        return reply and reply.server
      end
      assert(proofs[title], "no proof in spec/examples/cookbook_spec.lua")(t, w)
      for _, script in ipairs(scripts) do assert.equal(0, (script:failed_tasks()), select(2, script:failed_tasks())) end
    end)
  end

  it("has scripts that pass kt check", function()
    local at <close> = folder()
    for _, name in ipairs { "psk.key", "own.key", "server.key", "server.pub" } do at.write(name, ("A"):rep(43) .. "=\n") end
    local checks = {}
    for _, title in ipairs(titles) do
      for name, text in pairs(recipes[title]) do
        if name:find "%.lua$" and not name:find "_spec" then
          at.write(#checks .. ".lua", text)
          checks[#checks + 1] = ("TUNNEL_KEY=x kt check --env TUNNEL_KEY %d.lua vps.example:29900"):format(#checks)
        end
      end
    end
    local said = at.run("chmod 600 *.key; " .. table.concat(checks, "; "))
    assert.equal(#checks, select(2, said:gsub("%d+%.lua: no mistakes\n", "")), said)
  end)

  it("has no proof of a recipe that is gone, and at least fifteen recipes", function()
    for title in pairs(proofs) do assert.truthy(recipes[title], title) end
    assert.is_true(#titles >= 15)
  end)

  it("is in the lists of the README and of the guide to scripts", function()
    for path, link in pairs { ["README.md"] = "(docs/cookbook.md)", ["docs/scripts.md"] = "(cookbook.md)" } do
      assert.truthy(io.open(path):read("a"):find(link, 1, true), path)
    end
  end)
end)

proofs["Fail over between servers"] = function(t, w)
  t.server "a"
  t.server "b"
  t.run("client", "near.lua")
  w:run "5s"
  assert.equal("a", t.reached())
  w:link("client", "a"):cut()
  w:run_for "5s"
  assert.equal("b", t.reached())
  w:link("client", "a"):heal()
  w:run_for "10s"
  assert.equal("b", t.reached())
  w:run_for "40s"
  assert.equal("a", t.reached())
end

proofs["Race two links"] = function(t, w)
  t.server "fibre"
  t.server("lte", "60ms")
  local near = t.run("client", "near.lua")
  w:run "5s"
  assert.equal("fibre", t.reached())
  near:wait_log "goes through fibre"
  w:link("client", "fibre"):cut()
  local from = w:now()
  assert.equal("lte", t.reached())
  assert.is_true(w:now() - from < 0.5)
end

proofs["Drain a server before maintenance"] = function(t, w)
  t.server "a"
  t.server "b"
  t.run("client", "near.lua")
  w:run "5s"
  local function tell(line)
    local conn = t.client:connect "unix:/run/tunnel"
    conn:write(line .. "\n")
    return conn:read_all()
  end
  local open = { t.client:connect "127.0.0.1:12948", t.client:connect "127.0.0.1:12948" }
  assert.not_equal(open[1]:echo("x").server, open[2]:echo("x").server)
  assert.equal("a: 1 streams\nb: 1 streams\n", tell "drain a")
  for _ = 1, 3 do assert.equal("b", t.reached()) end
  assert.not_equal(open[1]:echo("still").server, open[2]:echo("there").server)
  tell "use a"
  open[1]:close()
  open[2]:close()
  w:run_for "1s"
  assert.equal("a", t.reached())
  for _, line in ipairs { "drain c", "stop a", "" } do assert.matches("^expected: ", tell(line)) end
end

proofs["Keep each client on its server"] = function(t, w)
  t.server "a"
  t.server "b"
  t.users(15)
  t.run("client", "near.lua")
  w:run "5s"
  local of, count = {}, { a = 0, b = 0 }
  for i = 1, 15 do
    of[i] = t.reached("user" .. i, "client:12948")
    count[of[i]] = count[of[i]] + 1
    assert.equal(of[i], t.reached("user" .. i, "client:12948"))
  end
  assert.is_true(count.a > count.b and count.b > 0)
  w:link("client", "a"):cut()
  w:run_for "5s"
  for i = 1, 15 do assert.equal("b", t.reached("user" .. i, "client:12948")) end
  w:link("client", "a"):heal()
  w:run_for "20s"
  for i = 1, 15 do assert.equal(of[i], t.reached("user" .. i, "client:12948")) end
end

proofs["Limit each client"] = function(t, w)
  t.tunnel(2)
  local apps, served = {}, 0
  for i = 1, 100 do -- at once, and before the link is up, so that all wait for it
    w:task(function()
      apps[i] = w:host("user1"):connect "client:12948"
      if apps[i]:try_echo "hello" then served = served + 1 end
    end)
  end
  w:run_for "2s"
  assert.equal(20, served)
  assert.is_nil(t.reached("user1", "client:12948"))
  assert.equal("vps", t.reached("user2", "client:12948"))
  for _, app in ipairs(apps) do app:close() end
  w:settle()
  assert.equal("vps", t.reached("user1", "client:12948"))
  w:settle()
  local transfers, start = {}, w:now()
  for i = 1, 3 do
    local user = i == 3 and "user2" or "user1"
    transfers[i] = w:transfer { from = user, to = "client:12948", bytes = i == 3 and "600kB" or "300kB", kind = "echo" }
  end
  for _, transfer in ipairs(transfers) do transfer:wait() end
  assert.near(600e3 * 2 * 8 / 5e6, w:now() - start, 0.4) -- both users at once: 600 kB there and back, each at 5 Mbit/s
end

proofs["Refuse clients that connect too often"] = function(t, w)
  t.tunnel(2)
  for _ = 1, 5 do assert.equal("vps", t.reached("user1", "client:12948")) end
  assert.is_nil(t.reached("user1", "client:12948"))
  assert.equal("vps", t.reached("user2", "client:12948"))
  w:run_for "12s"
  assert.equal("vps", t.reached("user1", "client:12948"))
  assert.is_nil(t.reached("user1", "client:12948"))
end

proofs["A different bandwidth at night"] = function(t, w)
  t.server "vps"
  w:host("vps"):run("scripts/examples/server.lua")
  t.run("client", "near.lua") -- it is 19:59
  local function begin(bytes) return w:transfer { from = "client", to = "127.0.0.1:12948", bytes = bytes, kind = "echo" } end
  begin("500kB"):wait()
  assert.near(8 / 5, w:now(), 0.3) -- 8 Mbit, there and back
  w:run "55s"
  local upload = begin "4MB"
  w:run "60s"
  assert.is_true(upload.received < 2e6)
  upload:wait()
  assert.is_true(w:now() < 62, w:now())
end

proofs["A key and targets for each user"] = function(t, w)
  t.server "vps"
  w:host("vps"):serve { on = "127.0.0.1:5432", kind = "echo" }
  w:host("vps"):serve { on = "127.0.0.1:22", kind = "echo" }
  t.run("vps", "far.lua", { files = { ["server.key"] = SERVER.key } })
  w:link(w:host "bob", "vps", { delay = "20ms" })
  t.run("client", "near.lua", { files = { ["own.key"] = ALICE, ["server.pub"] = SERVER.pub } })
  t.run("bob", "near.lua", { files = { ["own.key"] = BOB, ["server.pub"] = SERVER.pub } })
  assert.equal("vps", t.reached("client", "127.0.0.1:15432"))
  assert.is_nil(t.reached("bob", "127.0.0.1:15432"))
end

proofs["Reach a service behind NAT"] = function(t, w)
  w:host("vps", { address = "203.0.113.9" })
  t.server "vps"
  t.client:nat { public = "198.51.100.1" }
  w:link(w:host "user", "vps", { delay = "5ms" })
  t.client:serve { on = "127.0.0.1:22", kind = "echo" }
  t.run("vps", "outside.lua")
  assert.is_nil(t.reached("user", "vps:2222"))
  t.run("client", "inside.lua")
  w:run_for "2s"
  assert.equal("client", t.reached("user", "vps:2222"))
  w:run_for "1h"
  assert.equal("client", t.reached("user", "vps:2222"))
  t.client:crash()
  w:run_for "1m"
  assert.is_nil(t.reached("user", "vps:2222"))
  t.client:restart()
  w:run_for "5s"
  assert.equal("client", t.reached("user", "vps:2222"))
end

proofs["Mirror traffic to a second server"] = function(t, w)
  t.server "vps"
  t.run("vps", "far.lua")
  t.run("client", "client.lua")
  assert.equal("vps", t.reached())
  local copies = {}
  w:host("vps"):serve { on = "127.0.0.1:9388", fn = function(conn) copies[#copies + 1] = conn:read_all() end }
  assert.equal("vps", t.reached())
  w:settle()
  assert.same({ "hello\0echo-2\n" }, copies)
end

proofs["Block clients by a file"] = function(t, w)
  t.server "vps"
  t.run("vps", "server.lua")
  t.users(2)
  t.run("client", "near.lua", { files = { ["deny.txt"] = w:host("user1"):addresses()[1] .. "\n" } })
  local function ask(i)
    local app = w:host("user" .. i):try_connect "10.0.1.1:12948"
    return app ~= nil and app:try_echo "hello" ~= nil
  end
  assert.same({ false, true }, { ask(1), ask(2) })
  t.client:file("recipe/deny.txt", "192.0.2.0/24\n" .. w:host("user2"):addresses()[1] .. "/32\n")
  w:run_for "1s"
  assert.same({ true, false }, { ask(1), ask(2) })
  for _, text in ipairs { "10.0.0.1/8", false } do
    t.client:file("recipe/deny.txt", text or nil)
    w:run_for "1s"
    assert.same({ true, false }, { ask(1), ask(2) })
  end
end

proofs["Take settings from arguments and the environment"] = function(t)
  t.server "vps"
  t.run("vps", "server.lua")
  local args = {}
  for word in t.commands[1]:match("near.lua (.*)$"):gmatch "%S+" do args[#args + 1] = word end
  t.run("client", "near.lua", { args = args, env = { TUNNEL_KEY = "our secret" } })
  assert.equal("vps", t.reached("client", "127.0.0.1:9000"))
  assert.has_error(function() t.run("vps", "near.lua", { args = args, beside = true }) end)
  assert.matches("%-%-port", t.run("vps", "near.lua", { args = { "--help" }, beside = true }):output())
end

proofs["Forward DNS over a lossy line"] = function(t, w)
  t.server "vps"
  w:link("client", "vps"):set { loss = "10%" }
  w:host("vps"):serve { udp = "127.0.0.1:53", fn = function(question) return "answer to " .. question end }
  t.run("vps", "far.lua")
  t.run("client", "near.lua")
  local answers = 0
  for i = 1, 100 do
    local socket <close> = t.client:udp { to = "127.0.0.1:5353" }
    socket:send("question " .. i)
    if socket:receive { timeout = "1s" } == "answer to question " .. i then answers = answers + 1 end
  end
  assert.is_true(answers >= 94, answers) -- about 81 without copies
end

proofs["Ask a directory about each client"] = function(t, w)
  t.server "vps"
  t.run("vps", "server.lua")
  t.users(2)
  local asked, conns = {}, 0
  t.client:serve { on = "127.0.0.1:8500", fn = function(conn)
    conns = conns + 1
    while true do
      local head = conn:read_until("\r\n\r\n", { timeout = "1h" })
      if not head then return end
      asked[#asked + 1] = head:match "client=(%S+)"
      conn:write(("HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n"):format(asked[#asked] == w:host("user1"):addresses()[1] and 200 or 404))
    end
  end }
  t.run("client", "near.lua")
  for _ = 1, 2 do
    assert.equal("vps", t.reached("user1", "client:12948"))
    assert.is_nil(t.reached("user2", "client:12948"))
  end
  assert.same({ 2, 1 }, { #asked, conns })
  w:run_for "61s"
  local reached = 0
  for _ = 1, 20 do
    w:task(function()
      local by = t.reached("user1", "client:12948")
      if by == "vps" then reached = reached + 1 end
    end)
  end
  w:run_for "2s"
  assert.same({ 20, 3 }, { reached, #asked })
end

proofs["Log each connection as JSON"] = function(t, w)
  t.server "vps"
  t.run("vps", "server.lua")
  t.run("client", "near.lua", { allow_write = t.commands[1]:match "%-%-allow%-write (%S+)" })
  t.reached()
  t.reached()
  w:settle()
  local lines = {}
  for line in t.client:read_file("/var/log/tunnel/access.json"):gmatch "[^\n]+" do lines[#lines + 1] = line end
  assert.equal(2, #lines)
  assert.matches('^{"at":%d+%.?%d*,"client":"127%.0%.0%.1:%d+","ended":"end","received":13,"seconds":0%.%d+,"sent":13}$', lines[1])
end

proofs["Serve metrics and a health check"] = function(t, w)
  t.tunnel(0)
  local function get(path)
    local app <close> = t.client:connect "127.0.0.1:9100"
    app:write(("GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n"):format(path))
    return app:read_all()
  end
  w:run "1s"
  t.reached()
  assert.matches("^HTTP/1.%d 200 .*\r\n\r\nok\n$", get "/health")
  assert.matches("tunnel_streams 1\ntunnel_srtt 0%.0%d+\ntunnel_loss [%d.]+\ntunnel_bytes_in %d+\n", (get "/metrics"))
  w:link("client", "vps"):cut()
  w:run_for "1m"
  assert.matches("^HTTP/1.%d 503 ", get "/health")
end

proofs["Show statistics live by WebSocket"] = function(t, w)
  t.tunnel(0)
  w:run "1s"
  local app = t.client:connect "127.0.0.1:9100"
  app:write("GET /live HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    .. "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
  local head = app:read_until "\r\n\r\n"
  assert.matches("^HTTP/1.1 101 ", head)
  assert.matches("\r\nSec%-WebSocket%-Accept: s3pPLMBiTxaQ9kYGzzhZRbK%+xOo=\r\n", head) -- RFC 6455, section 1.3
  for _ = 1, 2 do
    local kind, size = app:read_exactly(2):byte(1, 2)
    assert.equal(0x81, kind)
    assert.matches('^{"srtt":0%.0%d+,"streams":0,"up":true}$', app:read_exactly(size))
  end
  app:close()
  assert.equal(426, t.client:http { url = "http://127.0.0.1:9100/live" }.status)
end

proofs["Send an alert when the tunnel is down"] = function(t, w)
  t.server "vps"
  t.run("vps", "server.lua")
  local alerts = {}
  t.client:serve { on = "127.0.0.1:9093", fn = function(conn)
    local head = conn:read_until "\r\n\r\n"
    alerts[#alerts + 1] = head:match "^[^\r]+" .. " " .. conn:read_exactly(tonumber(head:lower():match "content%-length: (%d+)"))
    conn:write "HTTP/1.1 204 No Content\r\n\r\n"
  end }
  t.run("client", "near.lua")
  w:run "5s"
  w:link("client", "vps"):cut()
  w:run_for "1m"
  w:link("client", "vps"):heal()
  w:run_for "30s"
  for i, text in ipairs { "up", "down: .+", "up" } do
    assert.matches('^POST /alerts HTTP/1.1 {"text":"' .. text .. '","tunnel":"office"}$', alerts[i])
  end
  assert.equal(3, #alerts)
  assert.equal("vps", t.reached())
end

proofs["Keep state across a reload"] = function(t, w)
  local near = t.tunnel(0)
  t.reached()
  w:settle()
  near:wait_log "127.0.0.1 has used 26 bytes"
  near:signal "HUP"
  w:run_for "1s"
  t.reached()
  near:wait_log "127.0.0.1 has used 52 bytes"
end

proofs["Keep a terminal quick beside downloads"] = function(t, w)
  t.server "vps"
  w:link("client", "vps"):set { rate = "5Mbit" }
  w:host("vps"):serve { on = "127.0.0.1:22", kind = "echo" }
  w:host("vps"):serve { on = "127.0.0.1:80", kind = "source", bytes = "3MB" }
  t.run("vps", "far.lua")
  t.run("client", "near.lua")
  local downloads = {}
  for i = 1, 3 do downloads[i] = w:transfer { from = "client", to = "127.0.0.1:8080", bytes = "3MB", kind = "down" } end
  w:run "2s"
  local keys = w:keystrokes({ from = "client", to = "127.0.0.1:2222", every = "100ms", count = 50 }):wait()
  for _, download in ipairs(downloads) do assert.is_true(download.received > 0 and download.received < 3e6) end
  assert.is_true(keys:worst() < 0.15, keys:worst())
end

proofs["Test a script with an outage"] = function(t)
  local at <close> = folder()
  at.write("outage_spec.lua", recipes["Test a script with an outage"]["outage_spec.lua"])
  local said = at.run(t.commands[1])
  assert.matches("1 success / 0 failures / 0 errors", said, 1, true)
end
