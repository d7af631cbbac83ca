-- The status page in Debian's chromium.
package.path = "./lua/?.lua;" .. package.path
local browser = require "harness.browser"
local h = require "harness"
local scripts = require "harness.scripts"
local sockets = h.sockets

--- A name of a link with which a peer or a script could inject code into the page.
local HOSTILE = "<img src=x onerror=window.owned=1>"

describe("the status page", function()
  local s = scripts.each(before_each, after_each)

  it("shows a link that goes down and comes back, with charts, events, pools and conns, and runs no code from names", function()
    h.run(function()
      local web, listen, udp = sockets.free_port(), sockets.free_port(), sockets.free_port "udp"
      s.write("far.lua", scripts.HEAD .. ([[
kt.accept { on = "127.0.0.1:%d", key = kt.secret_file "k" }:serve(function(stream)
  for data in function() return stream:read(65536, { timeout = "1h" }) end do stream:write(data) end
end)]]):format(udp))
      s.write("near.lua", scripts.HEAD .. ([[
local far = kt.link { remote = "127.0.0.1:%d", key = kt.secret_file "k", wire = "kt", stay = true, suspect_after = "1s", keepalive = "1s" }
local pool = kt.pool { name = "%s", links = { { link = far, name = "far" } }, check = { every = "100ms", timeout = "100ms", fall = 2 } }
kt.listen { on = "127.0.0.1:%d" }:serve(function(conn)
  local stream = pool:open()
  if stream then kt.splice(conn, stream) end
end)]]):format(udp, HOSTILE, listen))
      s.write("k", h.key)
      assert(os.execute("chmod 600 " .. s.dir .. "/k"))
      local far = s.kt("run", "far.lua")
      s.kt("run", "--http", "127.0.0.1:" .. web, "near.lua"):wait_tcp(web)
      local chromium = browser.start(s.dir)
      chromium:open("http://127.0.0.1:" .. web .. "/")
      local card = "document.querySelector('#links article')"
      chromium:until_true(card .. "?.dataset.state === 'up'")
      local conn = assert(sockets.connect(listen))
      conn:send "hello"
      assert.equal("hello", conn:recv(5))

      far:signal_with "sigstop"
      chromium:until_true(card .. ".dataset.state === 'down'")
      chromium:until_true "document.querySelector('#events').innerText.includes('down')"
      far:signal_with "sigcont"
      chromium:until_true(card .. ".dataset.state === 'up'")
      chromium:until_true "document.querySelector('#events').innerText.includes('up')"
      chromium:until_true "document.querySelector('#pools').innerText.includes('chosen')"
      assert.truthy(chromium:value("document.querySelector('#pools caption').textContent"):find(HOSTILE, 1, true))

      chromium:value "document.querySelector('#conns-details').open = true"
      chromium:until_true "document.querySelectorAll('#conns tbody tr').length > 2"
      chromium:value(([[(() => {
        const search = document.querySelector('#search');
        search.value = 'stream 127.0.0.1:%d';
        search.dispatchEvent(new Event('input'));
      })()]]):format(udp))
      chromium:until_true "document.querySelectorAll('#conns tbody tr').length === 1"

      assert.equal(4, chromium:value(card .. ".querySelectorAll('.chart canvas:first-child, .chart svg').length"))
      assert.is_nil(chromium:value "window.owned")
      assert.same({}, chromium.problems)
      local picture = os.getenv "KT_SPEC_PICTURE"
      if picture then chromium:picture(picture) end -- for a look at it
      chromium:call("Page.addScriptToEvaluateOnNewDocument", { source = "Object.defineProperty(window, 'Dygraph', { get() {}, set() {} })" })
      chromium:open("http://127.0.0.1:" .. web .. "/") -- as if kt had been built without dygraphs
      chromium:until_true "document.querySelectorAll('#links svg polyline').length > 2"
      assert.same({}, chromium.problems)
      chromium:call "Browser.close"
    end, 120)
  end)
end)
