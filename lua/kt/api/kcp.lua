--- Describes kt.kcp, for kt.api.

local own = { "nodelay", "interval", "resend", "nc" } -- what a mode sets

return function(with)
  local def, handle, method, record = with.def, with.handle, with.method, with.record

  def {
    name = "kt.kcp", context = "task", returns = "kcp | nil, err", path = "kcp",
    signature = "kt.kcp { conv = 1, output = function(packet) … end } → kcp | nil, err",
    doc = "Makes a KCP conversation for a protocol of the script's own: it sends what was lost again, and puts what arrives in order. The script "
      .. "carries its packets: `output` gets those to send, one at a time, and kcp:input takes those that come. On the wire it is ikcp, and a "
      .. "session of kcp-go without crypto and FEC. It has neither a handshake nor encryption. It needs no ticks: it has timers of its own. At most "
      .. "4096 per script; all of their packets together take at most a quarter of the script's memory limit, or 64 MiB.",
    fails = { "limit", "memory" },
    argument = {
      type = "table",
      check = function(out, raw, mistake)
        for _, key in ipairs(own) do
          if raw[key] ~= nil and out.mode then
            if raw.mode ~= nil then
              mistake(key, ('mode = "%s" sets it'):format(out.mode), "give one or the other")
            else
              out.mode = nil
            end
          end
        end
      end,
      keys = {
        { name = "conv", type = "integer", min = 0, max = 0xffffffff, required = true, expected = "a number that both ends know",
          doc = "The conversation's number, the first four bytes of each packet, little endian. The same at both ends." },
        { name = "output", type = "function", call = "fun(packet: string)", required = true,
          doc = "Called with each packet to send, in a task of its own. It may wait, as socket:send does. If it raises, the conversation ends, and "
            .. 'calls fail with "failed".' },
        { name = "stream", type = "boolean", default = false, doc = "A stream of bytes. Default: messages, which arrive whole." },
        { name = "mode", type = "enum", values = { "normal", "fast", "fast2", "fast3" }, default = "fast",
          doc = "How eagerly it sends again: as kcptun's modes. Instead of the four keys below." },
        { name = "nodelay", type = "flag", default = false, doc = "Shortest retransmission timeout 30 ms instead of 100, and slower backoff." },
        { name = "interval", type = "integer", min = 10, max = 5000, default = 100, doc = "Milliseconds that the peer may take to acknowledge." },
        { name = "resend", type = "integer", min = 0, max = 32, default = 0, doc = "Resend after this many ACKs of later packets; 0: only after a timeout." },
        { name = "nc", type = "flag", default = false, doc = "No congestion window." },
        { name = "mtu", type = "integer", min = 50, max = 1500, default = 1400, doc = "Longest packet, in bytes." },
        { name = "snd_wnd", type = "integer", min = 1, max = 4096, default = 128, doc = "Packets that may wait or be in flight; then send waits." },
        { name = "rcv_wnd", type = "integer", min = 1, max = 4096, default = 128, doc = "Packets that it keeps for the reader." },
      },
    },
    example = [[
kt.spawn(function()
  local socket = assert(kt.udp { to = "192.0.2.1:4000" })
  local talk = assert(kt.kcp { conv = 7, mode = "fast3", output = function(packet) socket:send(packet) end })
  kt.spawn(function()
    for packet in function() return (socket:receive { timeout = "1h" }) end do talk:input(packet) end
  end)
  talk:send "hello"
  print(talk:recv { timeout = "5s" })
  talk:flush { timeout = "5s" }
end)]],
  }

  handle { name = "kcp", owned = true, doc = "A KCP conversation; made by kt.kcp. It belongs to a task as a socket does, and is closed when the task ends." }
  method("kcp", {
    name = "input", context = "any", returns = "boolean | nil, err", signature = "input(packet) → true | nil, err",
    doc = "Takes a packet from the peer. A packet that is malformed or of another conversation changes nothing, is counted, and gives \"protocol\". "
      .. "KCP does not know who a packet is from: check its sender, or seal packets (kt.crypto).",
    fails = { "protocol", "closed", "failed" },
    params = { { name = "packet", type = "string", doc = "The packet." } },
  })
  method("kcp", {
    name = "send", context = "task", returns = "boolean | nil, err", signature = 'send(data [, { timeout = "30s" }]) → true | nil, err',
    doc = "Queues a message, or bytes of a stream; waits while the send window is full. A message is at most 127 packets, or snd_wnd if that is "
      .. "less; a longer one gives \"limit\". After a timeout, a part of a stream's bytes may have been queued.",
    fails = { "timeout", "limit", "closed", "failed", "memory" },
    params = { { name = "data", type = "string", doc = "The message, or bytes; not empty." } },
    optional = true, argument = with.patient(),
  })
  method("kcp", {
    name = "recv", context = "task", returns = "string | nil, err", signature = 'recv { timeout = "30s" } → data | nil, err',
    doc = "Returns the next message, or what has arrived of a stream, at most 64 KiB; waits for it. A message of more packets than rcv_wnd ends the "
      .. "conversation with \"protocol\". KCP has no end of data: close when the protocol says so, or after a timeout.",
    fails = { "timeout", "closed", "protocol", "failed" },
    optional = true, argument = with.patient(),
  })
  method("kcp", {
    name = "flush", context = "task", returns = "boolean | nil, err", signature = 'flush { timeout = "30s" } → true | nil, err',
    doc = "Waits until the peer has acknowledged everything that was sent. Closing before that loses the rest.",
    fails = { "timeout", "closed", "failed" },
    optional = true, argument = with.patient(),
  })
  method("kcp", {
    name = "stats", context = "any", returns = "kcpstats", signature = "stats() → kcpstats", doc = "Returns its current statistics; zeros once it is closed.",
  })
  method("kcp", {
    name = "close", context = "any", signature = "close()",
    doc = "Ends the conversation at once: nothing more is sent, not even acknowledgements that the peer's flush waits for. Waiting calls fail with "
      .. '"closed". Safe to call twice.',
  })

  record { name = "kcpstats", doc = "Statistics of a KCP conversation.", fields = with.statistics "kcp" }
end
