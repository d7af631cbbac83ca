-- Debian's chromium without a window, told what to do by the DevTools protocol over two pipes: JSON messages that end with a zero byte.
--
-- A page's conditions are awaited in the page itself (browser:until_true), so that nothing sleeps.
local uv = require "luv"
local decode = require "json_value"
local loop = require "harness.loop"
local process = require "harness.process"

local browser = {}
browser.__index = browser

local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

--- A string or a table of such, as JSON.
local function encode(value)
  if type(value) == "string" then return '"' .. value:gsub('[%c"\\]', function(c) return escapes[c] or ("\\u%04x"):format(c:byte()) end) .. '"' end
  if type(value) ~= "table" then return tostring(value) end
  local out = {}
  for name, item in pairs(value) do out[#out + 1] = encode(name) .. ":" .. encode(item) end
  return "{" .. table.concat(out, ",") .. "}"
end

--- Starts a browser with a profile in `folder`, and opens an empty page. Within h.run. It ends with the spec.
function browser.start(folder)
  local self = setmetatable({ answers = {}, problems = {}, last = 0, pieces = {}, waiting = {} }, browser)
  local to, from = uv.new_pipe(), uv.new_pipe()
  self.process = process.start {
    name = "chromium", env = { HOME = folder }, pipes = { to, from },
    cmd = { "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--mute-audio", "--window-size=1100,1400",
      "--remote-debugging-pipe", "--user-data-dir=" .. folder .. "/profile", "about:blank" },
  }
  self.to = to
  from:read_start(function(_, chunk)
    local pieces = self.pieces
    while chunk do
      local stop = chunk:find("\0", 1, true)
      pieces[#pieces + 1] = chunk:sub(1, (stop or 0) - 1)
      if not stop then break end
      self:take(table.concat(pieces))
      pieces, chunk = {}, chunk:sub(stop + 1)
    end
    self.pieces = pieces
  end)
  local target = self:call("Target.createTarget", { url = "about:blank" }).targetId
  self.session = self:call("Target.attachToTarget", { targetId = target, flatten = true }).sessionId
  for _, domain in ipairs { "Page", "Runtime", "Log" } do self:call(domain .. ".enable") end
  return self
end

function browser:take(text)
  local message = decode(text)
  if message.id then
    self.answers[message.id] = message
    local wake = self.waiting[message.id]
    if wake then wake() end
  elseif message.method == "Runtime.exceptionThrown" then
    table.insert(self.problems, message.params.exceptionDetails.text)
  elseif message.method == "Log.entryAdded" and message.params.entry.level == "error" then
    table.insert(self.problems, message.params.entry.text)
  end
end

--- Calls a method of the protocol; returns its result.
function browser:call(method, params)
  self.last = self.last + 1
  local id = self.last
  local message = { id = id, method = method, params = params or {}, sessionId = self.session }
  self.to:write(encode(message) .. "\0")
  if not self.answers[id] then loop.wait(method, 60, function(wake) self.waiting[id] = wake end) end
  local answer = self.answers[id]
  self.answers[id], self.waiting[id] = nil, nil
  assert(not answer.error, answer.error and method .. ": " .. tostring(answer.error.message))
  return answer.result
end

--- The value of an expression in the page; of a promise, what it resolves to.
function browser:value(expression)
  local result = self:call("Runtime.evaluate", { expression = expression, awaitPromise = true, returnByValue = true })
  assert(not result.exceptionDetails, result.exceptionDetails and result.exceptionDetails.text)
  return result.result.value
end

--- Waits until an expression in the page is true; it is looked at whenever the document changes. Fails after 30 s.
function browser:until_true(expression)
  local ok = self:value(([[new Promise((done) => {
    const look = () => { if (%s) { watch.disconnect(); done(true); } };
    const watch = new MutationObserver(look);
    watch.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
    setTimeout(() => done(false), 30000);
    look();
  })]]):format(expression))
  if not ok then error("waited 30 s for " .. expression .. " in:\n" .. self:value "document.body.innerText", 2) end
end

function browser:open(url)
  self:call("Page.navigate", { url = url })
  self:until_true "document.readyState !== 'loading' && location.href !== 'about:blank'"
end

--- A picture of the whole page, as PNG, to a file.
function browser:picture(path)
  local data = self:call("Page.captureScreenshot", { captureBeyondViewport = true }).data
  local pipe = assert(io.popen("base64 -d >" .. path, "w"))
  pipe:write(data)
  assert(pipe:close())
end

return browser
