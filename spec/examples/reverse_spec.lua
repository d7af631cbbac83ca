-- scripts/examples/reverse.lua, inside and outside.
local ends = require "harness.ends"
local h = require "harness"
local scripts = require "harness.scripts"

describe("the reverse example", function()
  local s
  before_each(function() s = scripts.new() end)
  after_each(function()
    h.cleanup()
    s.remove()
  end)

  --- The outside; its `public` is the port where the service is offered.
  local function outside(public)
    local port = public or h.sockets.free_port "tcp"
    local p = ends.far(s, "reverse.lua", { { '":2222"', ('"127.0.0.1:%d"'):format(port) } })
    p:wait_tcp(port)
    p.public = port
    s.write("outside.lua", h.read_file(s.dir .. "/reverse.lua")) -- to start it again
    return p
  end

  local function inside(out, service)
    return ends.near(s, "reverse.lua", out, { { "127.0.0.1:22", "127.0.0.1:" .. service } }, "inside")
  end

  --- Whether the service answers.
  local function answers(public)
    local app = h.sockets.connect(public)
    if not app then return false end -- it was reset already
    app:send "hello"
    local came, said = pcall(app.recv, app, 2) -- not, on a link whose inside has gone
    app:close()
    return came and said == "hello"
  end

  local function answers_soon(public)
    h.loop.eventually("an answer of the service", 30, function() return answers(public) end)
  end

  it("offers the inner service outside, byte for byte", function()
    h.run(function()
      local service = h.transfer.echo()
      local out = outside()
      local inn = inside(out, service.at)
      answers_soon(out.public)
      local apps = {}
      for seed = 1, 3 do
        apps[seed] = function()
          local app = assert(h.sockets.connect(out.public))
          h.loop.all(60,
            function() h.transfer.push(app, seed, 500000) end,
            function() h.transfer.pull(app, seed, 500000) end)
          app:shutdown()
          assert.equal("", (app:recv_all(20)))
        end
      end
      h.loop.all(60, table.unpack(apps))
      assert.equal(0, inn:stop())
      assert.equal(0, out:stop())
    end)
  end)

  it("resets users that come before the inside has dialled in", function()
    h.run(function()
      local out = outside()
      assert.is_false(answers(out.public))
      out:expect "the inside has not dialled in\n"
    end)
  end)

  it("works again when the inside was restarted", function()
    h.run(function()
      local service = h.transfer.echo()
      local out = outside()
      local inn = inside(out, service.at)
      answers_soon(out.public)
      inn:kill()
      inside(out, service.at)
      answers_soon(out.public)
    end)
  end)

  it("works again when the outside was restarted: the inside dials by itself", function()
    h.run(function()
      local service, port = h.transfer.echo(), h.sockets.free_port "tcp"
      local out = outside(port)
      inside(out, service.at)
      answers_soon(port)
      out:kill()
      local again = s.kt("run", "outside.lua")
      again:wait_tcp(port)
      answers_soon(port)
    end)
  end)
end)
