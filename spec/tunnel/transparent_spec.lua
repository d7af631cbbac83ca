-- kt.listen { transparent = … } with the kernel's netfilter: a client, a router and a server in network namespaces, by the rules of
-- scripts/examples/router.lua.
local KT = assert(os.getenv "KT_BIN")

-- The namespaces: this one is the router's. The others belong to processes that sleep.
local NET = [[
set -e
ip link set lo up
unshare --net sleep 60 & client=$!
unshare --net sleep 60 & server=$!
trap 'kill $client $server $(jobs -p) 2>/dev/null' EXIT
until [ "$(readlink /proc/$client/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
until [ "$(readlink /proc/$server/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
ip link add lan0 type veth peer name eth0 netns $client
ip link add wan0 type veth peer name eth0 netns $server
echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
ip addr add 10.1.0.1/24 dev lan0; ip addr add fd01::1/64 dev lan0 nodad; ip link set lan0 up
ip addr add 10.2.0.1/24 dev wan0; ip addr add fd02::1/64 dev wan0 nodad; ip link set wan0 up
inside() { nsenter -t $1 --net -- "${@:2}"; }
for side in "$client 1" "$server 2"; do
  set -- $side
  inside $1 ip link set lo up
  inside $1 ip addr add 10.$2.0.2/24 dev eth0; inside $1 ip addr add fd0$2::2/64 dev eth0 nodad; inside $1 ip link set eth0 up
  inside $1 ip route add default via 10.$2.0.1; inside $1 ip -6 route add default via fd0$2::1
done
says() { for _ in $(seq 500); do if grep -qs "$2" "$1"; then return; fi; sleep 0.02; done; echo "$1 does not say: $2"; cat "$1"; exit 1; }
]]

-- Says who asks.
local SERVER = [[
local kt = require "kt"
kt.listen { on = ":80" }:serve(function(conn) conn:write("tcp " .. conn.peer:match "^(.*):" .. "\n") end)
local socket = kt.udp { on = ":53" }
kt.spawn(function()
  while true do
    local data, from = socket:receive { timeout = "1h" }
    if data then socket:send("udp " .. from:match "^(.*):", from) end
  end
end)]]

-- Asks by TCP, and by UDP from a socket that hears the server's address alone.
local CLIENT = [[
local kt = require "kt"
local tcp, udp = ...
kt.spawn(function()
  local conn, err = kt.connect { to = tcp, timeout = "5s" }
  io.write(conn and conn:read(100) or tostring(err) .. "\n")
  if not udp then return end
  for port = 1, 2 do
    local socket = kt.udp { to = udp }
    for _ = 1, 2 do
      socket:send "q"
      print(socket:receive { timeout = "5s" })
    end
  end
end)]]

-- Passes on what it gets, and says where that was meant to go.
local ROUTER = [[
local kt = require "kt"
for _, address in ipairs { ADDRESSES } do
  kt.listen { on = address, transparent = "HOW" }:serve(function(conn)
    print("tcp", conn.peer:match "^(.*):", conn.original)
    if not conn.original then return conn:reset() end
    kt.splice(conn, assert(kt.connect { to = conn.original }))
  end)
  if "HOW" == "tproxy" then
    kt.listen { udp = address, transparent = "HOW" }:serve(function(flow)
      print("udp", flow.peer:match "^(.*):", flow.original)
      if flow.original then kt.splice(flow, (kt.connect { udp = flow.original })) end
    end)
  end
end]]

local have = os.execute "unshare --map-root-user --net sh -c 'ip link set lo up && nft list ruleset' >/dev/null 2>&1" and it or pending

describe("a transparent listener", function()
  local folder
  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    assert(os.execute("mkdir " .. folder))
  end)
  after_each(function() os.execute("rm -rf " .. folder) end)

  local function write(name, text)
    local f = assert(io.open(folder .. "/" .. name, "w"))
    f:write(text)
    f:close()
  end

  --- Runs the commands in the router's namespace; returns what they print.
  local function run(commands)
    write("run.sh", "KT=" .. KT .. "\n" .. NET .. commands)
    local p = assert(io.popen(("cd %s && timeout 60 unshare --map-root-user --net --fork --pid --mount-proc bash run.sh 2>&1"):format(folder)))
    local said = p:read "a"
    p:close()
    return said
  end

  local function files(how, addresses)
    write("server.lua", SERVER)
    write("client.lua", CLIENT)
    write("router.lua", (ROUTER:gsub("HOW", how):gsub("ADDRESSES", addresses)))
  end

  --- The lines of the example's comment that match.
  local function rules(pattern)
    local out = {}
    for line in io.lines "scripts/examples/router.lua" do
      local text = line:match "^%-%-     (.*)$"
      if text and text:find(pattern) then out[#out + 1] = text end
    end
    return table.concat(out, "\n") .. "\n"
  end

  --- Starts the server, and the router's script; last: what its log says last.
  local function start(last)
    return ([[
inside $server $KT run server.lua >server.out 2>server.log &
says server.log "udp socket"
$KT run router.lua >router.out 2>router.log &
says router.log "LAST"
]]):gsub("LAST", last)
  end

  have("gets what TPROXY diverts: TCP and UDP, IPv4 and IPv6, and answers from where it was meant to go", function()
    files("tproxy", '"127.0.0.1:12948", "[::1]:12948"')
    local nft = {}
    for line in io.lines "scripts/examples/router.lua" do
      local text = line:match "^%-%-     (.*)$"
      if text and not text:find "^kt run" and not text:find "^ip " then nft[#nft + 1] = text end
    end
    write("rules.nft", table.concat(nft, "\n") .. "\n")
    local said = run("nft -f rules.nft\n" .. rules "^ip " .. start "1]:12948 (UDP" .. [[
inside $client $KT run --unsafe client.lua 10.2.0.2:80 10.2.0.2:53 2>>client.log
inside $client $KT run --unsafe client.lua '[fd02::2]:80' '[fd02::2]:53' 2>>client.log
inside $client $KT run --unsafe client.lua 10.1.0.1:12948 2>>client.log
cat router.out
]])
    assert.equal([[
tcp 10.2.0.1
udp 10.2.0.1	10.2.0.2:53
udp 10.2.0.1	10.2.0.2:53
udp 10.2.0.1	10.2.0.2:53
udp 10.2.0.1	10.2.0.2:53
tcp [fd02::1]
udp [fd02::1]	[fd02::2]:53
udp [fd02::1]	[fd02::2]:53
udp [fd02::1]	[fd02::2]:53
udp [fd02::1]	[fd02::2]:53
10.1.0.1:12948: connection refused
tcp	10.1.0.2	10.2.0.2:80
udp	10.1.0.2	10.2.0.2:53
udp	10.1.0.2	10.2.0.2:53
tcp	[fd01::2]	[fd02::2]:80
udp	[fd01::2]	[fd02::2]:53
udp	[fd01::2]	[fd02::2]:53
]], said)
  end)

  have("gets TCP that REDIRECT sends to it, and knows a conn that was made to itself", function()
    files("redirect", '":12948"')
    write("rules.nft", [[
table inet kt {
  chain divert {
    type nat hook prerouting priority dstnat
    iifname "lan0" tcp dport 80 redirect to :12948
  }
}
]])
    local said = run("nft -f rules.nft\n" .. start "listening on" .. [[
inside $client $KT run --unsafe client.lua 10.2.0.2:80 2>>client.log
inside $client $KT run --unsafe client.lua '[fd02::2]:80' 2>>client.log
inside $client $KT run --unsafe client.lua 10.1.0.1:12948 2>>client.log
cat router.out
]])
    assert.equal([[
tcp 10.2.0.1
tcp [fd02::1]
nil
tcp	10.1.0.2	10.2.0.2:80
tcp	[fd01::2]	[fd02::2]:80
tcp	10.1.0.2	nil
]], said)
  end)

  have("says which privilege it lacks", function()
    files("tproxy", '"127.0.0.1:12948"')
    local said = run "setpriv --bounding-set=-net_admin,-net_raw $KT run router.lua || true\n"
    assert.matches('127.0.0.1:12948: transparent = "tproxy" needs CAP_NET_ADMIN; run kt as root, or with AmbientCapabilities=CAP_NET_ADMIN', said, 1, true)
  end)
end)
