--- Describes pools, for kt.api.
local policies = require "kt.pool.policies"
local schema = require "kt.schema"
local wire = require "kt.api.wire"

--- An entry of `links`, and the argument of pool:add.
local function member(required)
  return {
    type = "table", bare = "link", required = required, expected = "a link or { link = …, weight = …, name = … }",
    keys = {
      { name = "link", type = "handle", kind = "link", required = true, expected = "a link made by kt.link", doc = "The link." },
      { name = "weight", type = "integer", min = 1, max = 65535, default = 1, doc = "Its relative share with weighted, least_loaded and hash." },
      { name = "name", type = "string", doc = "Its name in logs, events and policies. Default: its peer's address." },
    },
  }
end

local function discover(d)
  return {
    name = "discover", type = "table", doc = "Adds links found in DNS to those in links. The name is looked up again when its TTL expires.",
    check = function(out, raw, mistake)
      if out.type == "SRV" and raw.port ~= nil then mistake("port", "SRV records contain the port", "leave it out") end
      if (out.type == "A" or out.type == "AAAA") and out.port == nil then mistake("port", "missing; give the peers' port") end
    end,
    keys = {
      { name = "name", type = "string", required = true, doc = 'The name, such as "_kt._udp.example.net".' },
      { name = "type", type = "enum", values = { "SRV", "A", "AAAA" }, default = "SRV",
        doc = "The record type. SRV priorities are respected: a link is used only while none with a lower priority number is up." },
      { name = "port", type = "integer", min = 1, max = 65535, doc = "The peers' port, with A and AAAA." },
      { name = "servers", type = "list", of = { type = "name_server", required = true, expected = "a name server's IP address" },
        doc = "Name servers, as for kt.resolve. Default: the system's." },
      { name = "timeout", type = "duration", default = 5, doc = "Timeout for a lookup." },
      { name = "link", type = "table", required = true, keys = d.keys, check = d.check, as = "kt.link",
        doc = "Settings of these links: the keys of kt.link, without remote." },
    },
  }
end

--- Keys of pool:open and pool:race that link:open gets as they are.
local function as_for_link()
  return {
    { name = "to", type = "string", doc = "As for link:open." },
    { name = "name", type = "string", doc = "As for link:open." },
    { name = "priority", type = "integer", min = 0, max = 7, doc = "As for link:open." },
    { name = "weight", type = "integer", min = 1, max = 256, doc = "As for link:open." },
  }
end

--- No link and no name may appear twice.
local function once(list, mistake)
  local link_at, name_at = {}, {}
  for i, entry in ipairs(list) do
    local known = not schema.unknown(entry) -- false for computed values in `kt check`
    local link, name = known and entry.link or nil, known and entry.name or nil
    if link ~= nil and link_at[link] then
      mistake(("links[%d]"):format(i), ("the same link as links[%d]"):format(link_at[link]), "give it a weight to increase its share")
    end
    if name ~= nil and name_at[name] then
      mistake(("links[%d].name"):format(i), ("links[%d] has the same name"):format(name_at[name]))
    end
    if link ~= nil then link_at[link] = link_at[link] or i end
    if name ~= nil then name_at[name] = name_at[name] or i end
  end
end

local function rules(out, raw, mistake)
  if raw.links == nil and raw.discover == nil then mistake("links", "missing; give links = { … }, discover = { … }, or both") end
  if out.links then once(out.links, mistake) end
  if out.hold and out.hold > 0 and type(out.policy) == "string" and not policies.steady[out.policy] then
    mistake("hold", ('policy = "%s" spreads streams over all links'):format(out.policy), "leave it out")
  end
  if out.key and out.policy ~= "hash" and type(out.policy) ~= "function" then
    mistake("key", ('policy = "%s" does not use it'):format(out.policy), 'give policy = "hash", or leave it out')
  end
end

return function(with)
  local def, handle, method, record, concat = with.def, with.handle, with.method, with.record, with.concat
  local discovered = { keys = wire.keys(true), check = wire.rules }

  def {
    name = "kt.pool", context = "any", returns = "pool", path = "pool",
    signature = "kt.pool { links = { … }, policy = …, … } → pool",
    doc = "Makes a pool: several links behind one open. Every link is checked continuously, and the policy chooses among those that are up. "
      .. "A stream stays on the link it was opened on.",
    argument = {
      type = "table", check = rules,
      keys = {
        { name = "name", type = "string", default = "pool", doc = "Its name in the log." },
        { name = "links", type = "list", of = member(), doc = "The links, most preferred first: each a link or { link = …, weight = 2, name = \"spare\" }." },
        { name = "policy", type = "enum", values = policies.names, fn = true, default = "first",
          call = "fun(up: facts[], request: poolrequest): integer", waits = false, what = "a policy",
          doc = "How the link for a new stream is chosen. first: the first that is up. round_robin: each in turn. least_loaded: the one with the "
            .. "fewest streams per weight. lowest_rtt: the fastest; another must be 10% faster to replace it. weighted: in turn, by weight. "
            .. "hash: sticky: by the request's key, so that a client keeps its link. When a link goes down, drains or leaves the pool, only its "
            .. "clients move, spread over the others, and they return with it. Or a function policy(up, request) → index into up, "
            .. "where up is a list of facts and request is { client, key }; a draining link is in the list, with "
            .. "draining = true. It cannot wait. If it raises or returns anything else, the first "
            .. "link that is up is used and a warning is logged." },
        { name = "hold", type = "duration", typical = 10,
          doc = "Minimum time between switches: new streams stay on the current link for this long, and move only to a link that has been up "
            .. "for this long. If the current link is down they move immediately. Default: 10 s with first and lowest_rtt, none with a "
            .. "function; set it for a function that prefers one link. Not allowed with policies that spread streams." },
        { name = "key", type = "function", call = "fun(request: poolrequest): string | integer", waits = false, what = "the function that makes a pool's keys",
          doc = "key({ client }) → text or an integer: the key for hash or a policy function. Default: the host of `client` given to open. "
            .. "Streams without either all take the same link." },
        { name = "retries", type = "integer", min = 0, max = 16, default = 2,
          doc = "How many other links to try, in the order of the policy, when a link fails to open a stream." },
        { name = "check", type = "table", default = {}, off = true,
          doc = "How links are checked; false disables checks, and all links count as up.",
          keys = {
            { name = "every", type = "duration", min = 0.05, max = 3600, default = 1, doc = "Interval between checks, varied by 10%." },
            { name = "timeout", type = "duration", min = 0.01, max = 60, default = 0.8, doc = "Timeout for a check." },
            { name = "fall", type = "integer", min = 1, max = 100, default = 3, doc = "A link goes down after this many failed checks in a row." },
            { name = "rise", type = "integer", min = 1, max = 100, default = 2,
              doc = "A link comes up after this many successful checks in a row; after one, if it has never been up." },
            { name = "with", type = "function", call = "fun(link: link): boolean | number | nil, string | err | nil",
              doc = "Custom check, with(link) → true, a round-trip time in seconds, or nil and a reason. It runs as a task, so it can open a "
                .. "stream and send a request. Default: link:probe." },
          } },
        { name = "migrate", type = "enum", values = { "new-only" }, default = "new-only",
          doc = "Which streams move to another link: only new ones. kcptun's wire cannot move an open stream." },
        discover(discovered),
      },
    },
    example = [[
local pool = kt.pool {
  links  = { near, far, { link = spare, name = "spare" } },
  check  = { every = "1s", timeout = "800ms", fall = 3, rise = 2 },
  hold   = "10s",
  policy = function(up)                    -- pure: returns an index
    local best, cost
    for i, l in ipairs(up) do
      local c = l.srtt * (1 + 20 * l.loss)
      if not cost or c < cost then best, cost = i, c end
    end
    return best
  end,
}]],
  }

  handle { name = "pool", doc = "Several links behind one open; made by kt.pool. All tasks share it." }
  method("pool", {
    name = "open", context = "task", returns = "stream | nil, err",
    signature = 'open { timeout = "5s", client = conn.peer } → stream | nil, err',
    doc = "Opens a stream on the link that the policy chooses. If that fails, it tries others (see retries); each attempt gets an equal share "
      .. "of the remaining time. With all links down it tries the one that was up most recently. A pool with discover waits for its first link.",
    fails = { "timeout", "closed", "dead", "limit", "unreachable" },
    optional = true,
    argument = {
      type = "table",
      keys = concat({
        { name = "timeout", type = "duration", default = 10, doc = "Timeout for the whole call, all attempts included." },
        { name = "client", type = "string", doc = "The client that the stream is for; used in the log, by the policy and by key." },
        { name = "key", type = "string", doc = "The key for the hash policy or a policy function." },
      }, as_for_link()),
    },
  })
  method("pool", {
    name = "race", context = "task", returns = "stream | nil, err",
    signature = 'race { timeout = "5s", client = conn.peer } → stream | nil, err',
    doc = "Opens a stream on each link that is up (of the lowest SRV priority, not draining, at most 8) and keeps the first that answers; the others "
      .. "are reset. A link answers when its peer, not the peer's target, has acknowledged the stream; link:open and pool:open do not wait "
      .. "for that when a session is up. So a peer that connects each stream to a target may do so for a moment on each link. With no "
      .. "link up, it tries those not checked yet, then all.",
    fails = { "timeout", "closed", "dead", "limit", "unreachable" },
    optional = true,
    argument = {
      type = "table",
      keys = concat({
        { name = "timeout", type = "duration", default = 10, doc = "Timeout for the whole call." },
        { name = "client", type = "string", doc = "The client that the stream is for; used in the log." },
      }, as_for_link()),
    },
    example = [[
local stream, err = pool:race { timeout = "3s", client = conn.peer }
if not stream then return conn:reset(err) end
kt.log.info("%s answered first", stream.link)]],
  })
  method("pool", {
    name = "add", context = "any", argument = member(),
    signature = "add(link | { link = …, weight = …, name = … })",
    doc = "Adds a link at the end of the list. It gets streams after its first successful check; with hold, after it has been up for that long.",
  })
  method("pool", {
    name = "set", context = "any", returns = "boolean", signature = "set(link | name, { drain = true, weight = 3 }) → whether it is in the pool",
    doc = "Changes a link of the pool, for new streams; open ones stay where they are. A draining link gets no new streams, even if all others are "
      .. "down, but is still checked; a policy function sees it and may choose it. Keys that are not given stay as they are.",
    params = { { name = "what", type = "link | string", doc = "The link, or its name in the pool." } },
    argument = {
      type = "table",
      keys = {
        { name = "drain", type = "boolean", doc = "Whether it drains: true to take it out of use, false to bring it back." },
        { name = "weight", type = "integer", min = 1, max = 65535, doc = "Its relative share, as in pool:add; SRV records no longer change it." },
      },
    },
    example = [[
pool:set("near", { drain = true })           -- before maintenance; pool:links() shows how many streams are left]],
  })
  method("pool", {
    name = "remove", context = "any", returns = "boolean", signature = "remove(link | name) → whether it was in the pool",
    doc = "Removes a link. Its streams and the link itself stay open.",
    params = { { name = "what", type = "link | string", doc = "The link, or its name in the pool." } },
  })
  method("pool", {
    name = "links", context = "any", returns = "facts[]", signature = "links() → { facts, … }",
    doc = "Returns the current facts of each link, most preferred first. A policy gets facts that may be 0.1 s old.",
  })
  method("pool", {
    name = "stats", context = "any", returns = "tally", signature = "stats() → tally", doc = "Returns the pool's current statistics.",
  })
  method("pool", {
    name = "on", context = "any", signature = 'on("switch" | "up" | "down", function(event) … end)',
    doc = "Runs a function as a task on an event. \"switch\": new streams go to another link; the handler gets { from, to, reason }. \"up\" and "
      .. "\"down\": the state of a link changed; it gets { name, link, reason }. May be called more than once.",
    params = {
      { name = "event", type = '"switch" | "up" | "down"', doc = "The event." },
      { name = "handler", type = "fun(event: switched | changed)", by = { switch = "fun(event: switched)", other = "fun(event: changed)" },
        doc = "Called with the details of the event." },
    },
  })
  method("pool", {
    name = "close", context = "any", signature = "close()",
    doc = "Stops the checks; waiting calls of open fail with \"closed\". Links and streams stay open. Safe to call twice.",
  })

  record {
    name = "facts", doc = "State of a link in a pool. A policy gets one for each link that is up; pool:links() returns one for each link.",
    fields = {
      { name = "name", type = "string", doc = "The link's name in the pool." },
      { name = "weight", type = "integer", doc = "The weight given, or that of the SRV record." },
      { name = "srtt", type = "number", doc = "Smoothed round-trip time, in seconds: check.with's if it returns one. math.huge means not known yet." },
      { name = "rttvar", type = "number", doc = "Round-trip time variation, in seconds." },
      { name = "loss", type = "number", doc = "Share of segments lost recently, 0 to 1; see the link's stats." },
      { name = "streams", type = "integer", doc = "Open streams." },
      { name = "rate_in", type = "number", doc = "Bytes received per second." },
      { name = "rate_out", type = "number", doc = "Bytes sent per second." },
      { name = "since", type = "number", doc = "Seconds since it last went up or down." },
      { name = "draining", type = "boolean", doc = "Whether it drains (pool:set): it gets no new streams, unless a policy function chooses it." },
      { name = "link", type = "link", doc = "The link. This field and the following ones are in pool:links() only." },
      { name = "up", type = "boolean", doc = "Whether it is up." },
      { name = "proven", type = "boolean", doc = "Whether any check has succeeded yet." },
      { name = "error", type = "string | nil", doc = "Why the last check failed; nil if it succeeded." },
    },
  }
  record {
    name = "poolrequest", doc = "A request for a new stream, as a pool's policy function gets it.",
    fields = {
      { name = "client", type = "string | nil", doc = "The client given to pool:open." },
      { name = "key", type = "string | nil", doc = "The key given to pool:open, or made by `key`." },
    },
  }
  record {
    name = "switched", doc = "New streams of a pool go to another link.",
    fields = {
      { name = "from", type = "string", doc = "The name of the link before." },
      { name = "to", type = "string", doc = "The name of the link now." },
      { name = "reason", type = "string", doc = "Why, as a sentence." },
    },
  }
  record {
    name = "changed", doc = "A link of a pool has gone up or down.",
    fields = {
      { name = "name", type = "string", doc = "The link's name in the pool." },
      { name = "link", type = "link", doc = "The link." },
      { name = "reason", type = "string", doc = "Why, as a sentence." },
    },
  }
  record {
    name = "tally", doc = "Statistics of a pool.",
    fields = {
      { name = "links", type = "integer", doc = "Links in the pool." },
      { name = "up", type = "integer", doc = "Links that are up." },
      { name = "current", type = "string | nil", doc = "The link that new streams go to, if the policy prefers one." },
      { name = "opened", type = "integer", doc = "Streams opened." },
      { name = "failed", type = "integer", doc = "Calls of open that failed on every link tried." },
      { name = "failed_attempts", type = "integer", doc = "Failed attempts on single links." },
      { name = "switches", type = "integer", doc = "Times that new streams moved to another link." },
    },
  }
end
