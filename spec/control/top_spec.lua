-- kt top: what it computes, and the real one in tmux.
package.path = "./lua/?.lua;" .. package.path

local h = require "harness"
local process = require "harness.process"
local scripts = require "harness.scripts"
local layout = require "kt.cli.layout"
local top = require "kt.cli.top"

local function status(links, conns)
  return {
    name = "s", pid = 1, uptime = 60, log_level = "info", conns = #conns, ending = false, replaced = {},
    script = { memory = 1e6, tasks = 1, pools = {}, listeners = {}, links = links, conns = conns, conn_count = #conns },
  }
end

local function conn(id, bytes_in, peer) return { id = id, kind = "conn", peer = peer or "192.0.2.1:1", age = id, bytes_in = bytes_in, bytes_out = 0 } end

local function link(name, bytes_in)
  return { name = name, open = true, stats = { up = true, srtt = 0.082, loss = 0.004, streams = 2, bytes_in = bytes_in, bytes_out = 0 } }
end

local function ids(lines)
  local found = {}
  for _, line in ipairs(lines) do found[#found + 1] = line:match "^192.0.2.1:1 +(%d+) " end
  return table.concat(found, " ")
end

describe("the screen of kt top", function()
  it("shows rates since the status before, and 0 for what is new or has started again", function()
    local screen = top.new()
    top.update(screen, status({ link("vps:1", 1000) }, { conn(1, 500), conn(2, 900) }), 10)
    top.update(screen, status({ link("vps:1", 21000) }, { conn(1, 4500), conn(2, 100), conn(3, 7000) }), 12)
    local text = table.concat(top.lines(screen, 80, 24), "\n")
    assert.matches("vps:1 +up +82 ms +0.4 %% +2 +10.0 kB/s +0 B/s", text)
    assert.matches("192.0.2.1:1 +1 [^\n]* 2.0 kB/s", text)
    assert.matches("192.0.2.1:1 +2 [^\n]* 0 B/s +0 B/s", text)
    assert.matches("192.0.2.1:1 +3 [^\n]* 0 B/s +0 B/s", text)
  end)

  it("fills any terminal exactly, whatever the names", function()
    local links, conns = {}, {}
    for i = 1, 40 do links[i] = link(("länger-%s:%d"):format(("x"):rep(i * 3), i), i) end
    for i = 1, 100 do conns[i] = conn(i, i, "[2001:db8::" .. i .. "]:6\27[31m5535") end
    local screen = top.new()
    top.update(screen, status(links, conns), 1)
    for _, size in ipairs { { 80, 24 }, { 200, 60 }, { 40, 8 }, { 10, 3 } } do
      for view = 1, 3 do
        screen.view = view
        local lines = top.lines(screen, size[1], size[2])
        assert.equal(size[2], #lines)
        for _, text in ipairs(lines) do
          local bare = text:gsub("^\27%[7m(.*)\27%[0m$", "%1")
          assert.is_nil(bare:find "%c")
          assert.is_true(layout.width(bare) <= size[1], bare)
        end
      end
    end
  end)

  it("sorts, reverses and scrolls by keys, and ends with q or Ctrl-C", function()
    local screen = top.new()
    local conns = { conn(1, 0), conn(2, 0), conn(3, 0) }
    top.update(screen, status({}, conns), 1)
    top.update(screen, status({}, { conn(1, 10), conn(2, 30), conn(3, 20) }), 2)
    assert.equal("2 3 1", ids(top.lines(screen, 80, 24)))
    assert.is_true(top.key(screen, "r"))
    assert.equal("1 3 2", ids(top.lines(screen, 80, 24)))
    assert.is_true(top.key(screen, "ra\27[B"))
    assert.equal("2 1", ids(top.lines(screen, 80, 7)))
    assert.is_false(top.key(screen, "nq"))
    assert.is_false(top.key(screen, "\3"))
  end)
end)

describe("kt top in a terminal", function()
  local s, tmux
  local servers = {} -- of tmux: one for each terminal

  before_each(function() s = scripts.new() end)

  after_each(function()
    for _, server in ipairs(servers) do os.execute(server .. " kill-server 2>/dev/null") end
    servers = {}
    h.cleanup()
    s.remove()
  end)

  local function output(command)
    local pipe = assert(io.popen(command))
    local text = pipe:read "a"
    pipe:close()
    return text
  end

  local function screen_has(pattern)
    return h.loop.eventually(pattern .. " on the screen", 20, function()
      local text = output(tmux .. " capture-pane -p 2>&1")
      return text:find(pattern) and text
    end)
  end

  --- Runs kt top in a terminal of 80x24, and then shows its exit code, and how many of two settings the terminal has again.
  local function start()
    tmux = ("tmux -L kt-spec-%s-%d"):format(s.dir:match "[^/]*$", #servers)
    servers[#servers + 1] = tmux
    local settings = "stty -a | tr ' ' '\\n' | grep -cx -e echo -e icanon"
    local command = ("%s top s; echo code \\$? \\$(%s); cat"):format(scripts.kt, settings)
    assert(os.execute(('env KT_RUNTIME_DIR=%s/kt %s -f /dev/null new-session -d -x 80 -y 24 "%s"'):format(s.dir, tmux, command)))
    return screen_has "q quit"
  end

  local function restored(code)
    local text = screen_has("code " .. code .. " 2\n")
    assert.is_nil(text:find "q quit", text)
  end

  it("draws 80x24, follows the keys and the size, and gives the terminal back on every way out", function()
    h.run(function()
      s.write("s.lua", 'local kt = require "kt"\nkt.listen { on = "127.0.0.1:0" }:serve(function() end)\n'
        .. 'kt.link { remote = "127.0.0.1:9", key = "k", wire = "kcptun" }:on("up", function() end)\n')
      local function run()
        local kt = process.start {
          name = "kt", cmd = { scripts.kt, "run", "--log-level", "debug", "s.lua" }, cwd = s.dir, env = { KT_RUNTIME_DIR = s.dir .. "/kt" },
        }
        kt:expect "control socket at "
        return kt
      end
      local kt = run()
      local text = start()
      assert.matches("^s %(pid " .. kt.pid .. "%)  up %d+ s  links 1  conns 0 ", text)
      assert.matches("\nLINK .*\n127.0.0.1:9 +down ", text)
      local lines = select(2, text:gsub("\n", ""))
      assert.equal(24, lines)
      os.execute(tmux .. " send-keys n")
      screen_has "sorted by name"
      os.execute(tmux .. " resize-window -x 60 -y 12")
      h.loop.eventually("the keys on the twelfth line", 10, function()
        return output(tmux .. " capture-pane -p"):match "^[^\n]*\n[^\n]*\nLINK" and output(tmux .. " capture-pane -p"):find "OUT\n.*\nq quit"
      end)
      os.execute(tmux .. " send-keys q")
      restored(0)

      start()
      output("kill -TERM $(pgrep -P $(" .. tmux .. " display -p '#{pane_pid}'))")
      restored(0)

      start()
      kt:kill()
      restored(1)
      screen_has "kt top: s has ended"
    end)
  end)
end)
