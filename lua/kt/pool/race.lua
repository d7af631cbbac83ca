--- pool:race: opens a stream on several links at once and keeps the first that answers.
---
--- A link answers when its peer has acknowledged the stream: link:open may return before that. One task per link opens the stream and
--- waits for the answer; the first hands its stream to the caller, and the others are reset. A stream that opens after the end of the race
--- is closed with its task.
local choice = require "kt.pool.choice"

local race = {}

local LINKS_MAX = 8 -- at once

--- The links to try: those in use that are up; if none is, those not checked yet; if there are none of those either, all in use.
local function entrants(pool)
  local out
  for _, fits in ipairs {
    function(m) return m.health.up and m.health.proven end,
    function(m) return m.health.up end,
    function() return true end,
  } do
    out = {}
    for _, m in ipairs(pool.members) do
      local same_tier = #out == 0 or m.tier == out[1].tier
      if not m.draining and same_tier and #out < LINKS_MAX and fits(m) then out[#out + 1] = m end
    end
    if #out > 0 then break end
  end
  return out
end

--- Sends a packet after the one that opened the stream: on kt's wire the peer acknowledges two at once, and a single one only after
--- ack_delay (docs/wire.md, 5.1).
local function hurry(env, m, run)
  env.park(0) -- until the first has left
  local left = run.deadline - env.now()
  if not run.over and left > 0 then pcall(m.link.probe, m.link, { timeout = left }) end -- it raises if the link was closed meanwhile
end

--- One link's part, in a task of its own. run: the race.
local function try(pool, m, run)
  local env = pool.env
  m.opened = m.opened + 1
  local stream, err = m.link:open(run.ask)
  if stream and not run.over then
    run.streams[m] = stream
    local ok
    pcall(env.spawn, hurry, env, m, run)
    ok, err = env.answered(stream, math.max(0, run.deadline - env.now()))
    run.streams[m] = nil
    if ok and not run.over then
      run.over, run.stream, run.winner = true, stream, m
      env.give(stream, run.task)
    end
  end
  if run.winner ~= m then m.opened = m.opened - 1 end
  if not run.over then run.failed(m, err) end
  run.left = run.left - 1
  env.unpark(run.task)
end

--- Ends the race; also if the caller's task ends before it.
local function finish(run)
  run.over = true
  for _, stream in next, run.streams do stream:reset() end
end

local ends = { __close = finish }

--- ask: the options for link:open, with timeout in seconds. failed(m, err): notes that a link failed. Returns the stream and its member,
--- or nil if none answered.
function race.run(pool, ask, failed)
  local env = pool.env
  local list = entrants(pool)
  local run <close> = setmetatable({
    ask = ask, deadline = env.now() + ask.timeout, task = env.self(), failed = failed, streams = {}, left = #list, over = false,
  }, ends)
  for _, m in ipairs(list) do
    local ok, wrong = pcall(env.spawn, try, pool, m, run)
    if not ok then
      run.left = run.left - 1
      failed(m, env.err("limit", choice.raised(wrong)))
    end
  end
  while run.left > 0 and not run.over and not pool.closed do
    local left = run.deadline - env.now()
    if left <= 0 then break end
    env.park(left)
  end
  return run.stream, run.winner
end

return race
