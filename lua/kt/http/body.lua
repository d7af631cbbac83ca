--- Reads the body of a message from a conn or stream, in pieces, and never a byte of what follows it.
local body = {}
body.__index = body

local LINE_MAX, TRAILERS_MAX, TURN = 1024, 64, 64

--- env: kt.core, or what kt.sim has of it. conn: with read and read_until. head: what env.http_head returned. max: bytes of the
--- whole body. timeout: seconds for each read, or for all of them together with `whole`.
function body.new(env, conn, head, max, timeout, whole)
  return setmetatable({
    env = env, conn = conn, left = head.length or 0, chunks = head.chunks, to_end = head.to_end, max = max, timeout = timeout,
    deadline = whole and env.now() + timeout, size = 0, lines = 0, trailers = 0, done = head.length == 0,
  }, body)
end

local function patience(self)
  return { timeout = self.deadline and math.max(self.deadline - self.env.now(), 0) or self.timeout }
end

--- Ends the body: what remains of it is unknown. An err of the conn must not say "eof", which stands for a complete body.
local function fail(self, err)
  if err.code == "eof" then err = self.env.err("reset", "the body broke off") end
  self.failed = err
  return nil, err
end

local function malformed(self, why) return fail(self, self.env.err("protocol", "malformed body: " .. why)) end

--- Reads the lines before the next data of a chunked body; true at its end.
local function to_data(self)
  while self.left == 0 do
    local line, err = self.conn:read_until("\r\n", LINE_MAX, patience(self))
    if not line then
      if err.code == "limit" then return malformed(self, "a line is too long") end
      return fail(self, err)
    end
    self.lines = self.lines + 1
    if self.lines % TURN == 0 then self.env.park(0) end -- many tiny chunks may have come: let others run
    self.trailers = self.trailers + 1
    if self.trailers > TRAILERS_MAX then return malformed(self, "too many lines without data") end
    local left, wrong = self.env.http_feed(self.chunks, line)
    if left == nil then return malformed(self, wrong) end
    if left == false then
      self.done = true
      return true
    end
    self.left = left
  end
  self.trailers = 0
end

--- A piece of at most `most` bytes; nil and an err, whose code is "eof" at the end of the body.
function body:read(most)
  if self.failed then return nil, self.failed end
  if not self.done and self.chunks and not to_data(self) and self.failed then return nil, self.failed end
  if self.done then return nil, self.env.err("eof", "the body has ended") end
  local data, err = self.conn:read(self.to_end and most or math.min(self.left, most), patience(self))
  if not data then
    if self.to_end and err.code == "eof" then
      self.done = true
      return nil, self.env.err("eof", "the body has ended")
    end
    return fail(self, err)
  end
  self.size = self.size + #data
  if self.size > self.max then return fail(self, self.env.err("limit", ("the body is longer than %d bytes"):format(self.max))) end
  if self.chunks then
    local left, wrong = self.env.http_feed(self.chunks, data)
    if not left then return malformed(self, wrong) end
    self.left = left
  elseif not self.to_end then
    self.left = self.left - #data
    self.done = self.left == 0
  end
  return data
end

--- The rest of the body, or nil and an err. Pieces are joined a thousand at a time: tiny chunks must not cost more than their bytes.
function body:all()
  local blocks, parts = {}, {}
  while true do
    local data, err = self:read(65536)
    if not data and err.code ~= "eof" then return nil, err end
    parts[#parts + 1] = data
    if not data or #parts == 1000 then blocks[#blocks + 1], parts = table.concat(parts), {} end
    if not data then return table.concat(blocks) end
  end
end

--- Whether what follows the body can be read: it has been read to its end, or is short enough to be skipped.
function body:skip(most)
  while not self.done do
    if self.size > most or self.left > most then return false end
    local data, err = self:read(16384)
    if not data then return err.code == "eof" end
  end
  return not self.failed
end

return body
