-- Everything at once: hosts and scripts that die at any moment, even during a packet, names that change, users that come
-- and go. None of it may crash, leak (under the sanitizers), or differ the second time.
local sim = require "kt.sim"

-- Actions of users, and faults.
local function acts(w)
  local client, server = w:host "client", w:host "server"

  local function user()
    local app = client:try_connect("127.0.0.1:12948", { timeout = "2s" })
    if not app then return end
    for _ = 1, 20 do
      if not app:try_echo(("x"):rep(w:random(1, 3000)), { timeout = 0.3 }) then break end
    end
    local how = w:random(3)
    if how == 1 then app:close() elseif how == 2 then app:reset() end
  end

  local function one_host() return w:random(2) == 1 and client or server end

  return { user, user, user,
    function()
      local host = one_host()
      host:crash()
      if w:random(2) == 1 then w:sleep(w:random()) end
      host:restart()
    end,
    function()
      for _, script in ipairs(client.scripts) do script:kill() end
      if client:is_up() then client:run "scripts/examples/client.lua" end
    end,
    function()
      for _, script in ipairs(server.scripts) do
        if script:is_running() then script:signal "TERM" end
      end
    end,
    function()
      w:link("client", "server"):cut()
      w:sleep(w:random())
      w:link("client", "server"):heal()
    end,
    function() client:short_io(w:random(1, 100)) end,
    function() server:udp_full "100ms" end,
    function() w:name("vps.example", w:random(2) == 1 and "server") end,
    function() -- during a packet
      local host, done = one_host(), false
      w:rule { fn = function()
        if done or w:random(30) > 1 then return end
        done = true
        host:crash()
        host:restart()
      end }
    end,
  }
end

local function storm(w)
  w:host "client"
  w:host "server"
  w:link("client", "server", { delay = w:random(1, 50) / 1000, loss = w:random() * 0.2, duplicate = "2%", reorder = "2%", corrupt = "1%" })
  w:name("vps.example", "server")
  w:host("server"):serve { on = "127.0.0.1:8388", kind = "echo" }
  w:host("server"):run "scripts/examples/server.lua"
  w:host("client"):run "scripts/examples/client.lua"
  local all = acts(w)
  for i = 1, 25 do
    local act = all[w:random(#all)]
    -- Ignore actions that are impossible at the moment, such as a second script on a host.
    w:at(i * 0.2, function() pcall(act) end)
  end
  w:run "12s"
end

describe("a storm", function()
  it("completes, and repeats exactly", function()
    local prints = {}
    local n = tonumber(os.getenv "KT_SPEC_SEEDS") or os.getenv "KT_SPEC_LIGHT" and 5 or 20
    local function note(w)
      storm(w)
      table.insert(prints, (w:fingerprint()))
    end
    sim.sweep(n, note, { files = { ["psk.key"] = "a secret" } })
    local first = prints
    prints = {}
    sim.sweep(n, note, { files = { ["psk.key"] = "a secret" } })
    assert.same(first, prints)
  end)
end)
