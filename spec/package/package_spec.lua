-- The Debian package that cpack makes of the release build: what is in it, its services' sandbox, and their command lines.
local uv = require "luv"
local h = require "harness"

local build = assert(os.getenv "KT_BUILD", "KT_BUILD is not set")

--- Runs a command; returns its output and whether it succeeded.
local function sh(command, ...)
  local pipe = assert(io.popen(command:format(...) .. " 2>&1"))
  local out = pipe:read "a"
  return out, (pipe:close()) == true
end

local function ok(command, ...)
  local out, good = sh(command, ...)
  assert.is_true(good, command:format(...) .. "\n" .. out)
  return out
end

describe("the Debian package", function()
  local dir, root, deb

  setup(function()
    dir = os.tmpname()
    os.remove(dir)
    root = dir .. "/root"
    ok("mkdir -p %s", root)
    ok("cd %s && cpack -G DEB -B %s", build, dir)
    deb = ok("ls %s/kt_*.deb", dir):match "%S+"
    ok("dpkg-deb -x %s %s", deb, root)
  end)
  teardown(function() os.execute("rm -rf " .. dir) end)
  after_each(h.cleanup)

  it("has nothing that lintian finds", function()
    if not h.installed "lintian" then return pending "lintian is not installed" end
    assert.equal("", (ok("lintian --no-cfg --allow-root %s", deb):gsub("running with root[^\n]*\n", "")))
  end)

  it("depends on the libraries that kt uses", function()
    assert.matches("/kt_%d+%.%d+%.%d+_%w+%.deb$", deb)
    local control = ok("dpkg-deb -f %s", deb)
    for _, library in ipairs { "libc6", "libuv1", "liblua5.4-0", "libsodium23" } do
      assert.truthy(control:match("\nDepends: [^\n]*" .. library:gsub("[.-]", "%%%0") .. " %(>="), control)
    end
    ok("cd %s && dpkg-deb -e %s control && sh -n control/postinst && sh -n control/prerm && sh -n control/postrm", dir, deb)
  end)

  it("has every page that its README links to", function()
    local folder = root .. "/usr/share/doc/kt"
    local readme, pages = ok("gzip -dc %s/README.md.gz 2>/dev/null || cat %s/README.md", folder, folder), 0
    for page in readme:gmatch "%]%(docs/([%w-]+%.md)%)" do
      assert(io.open(("%s/docs/%s"):format(folder, page))):close()
      pages = pages + 1
    end
    assert.is_true(pages > 10)
  end)

  it("has a man page and completions for each verb, made from its help", function()
    local verbs = 0
    local bash = h.read_file(root .. "/usr/share/bash-completion/completions/kt")
    for verb, summary in ok("%s/kt help", build):match "\n\n(.-)\n\n":gmatch "  (%l%w*) +([^\n]+)" do
      local page = ok("gzip -dc %s/usr/share/man/man1/kt-%s.1.gz", root, verb)
      assert.truthy(page:find(summary:gsub("%-", "\\-"), 1, true), page)
      assert.truthy(page:find("\n.TP\n.B \\-h, \\-\\-help", 1, true) or page:find("\\-\\-help", 1, true), page)
      assert.truthy(bash:find("    " .. verb .. ") flags=\"", 1, true), verb)
      verbs = verbs + 1
    end
    assert.is_true(verbs >= 10)
    local offered = ok([[bash -c 'source %s/usr/share/bash-completion/completions/kt; compopt() { :; }
      COMP_WORDS=(kt ke); COMP_CWORD=1; _kt; echo "${COMPREPLY[@]}"; COMP_WORDS=(kt run --allow-w); COMP_CWORD=2; _kt; echo "${COMPREPLY[@]}"']], root)
    assert.equal("keygen\n--allow-write\n", offered)
    if h.installed "zsh" then ok("zsh -n %s/usr/share/zsh/vendor-completions/_kt", root) end
    if h.installed "fish" then ok("fish -n %s/usr/share/fish/vendor_completions.d/kt.fish", root) end
  end)

  it("has man pages that man renders without a warning", function()
    if not h.installed "man" then return pending "man is not installed" end
    assert.equal("", (ok("cd %s/usr/share/man/man1 && man -l --warnings *.gz >/dev/null", root)))
  end)

  it("has an AppArmor profile that its parser takes", function()
    if not h.installed "apparmor_parser" then return pending "apparmor_parser is not installed" end
    ok("apparmor_parser -Q -K %s/etc/apparmor.d/kt", root)
  end)

  it("has rules by which logrotate moves a log, and kt continues in a new one, at once with SIGUSR2", function()
    if not h.installed "logrotate" then return pending "logrotate is not installed" end
    h.run(function()
      local logs = dir .. "/log/kt/near"
      ok("mkdir -p %s", logs)
      h.write_file(dir .. "/near.lua", "local kt = require 'kt' kt.spawn(function() kt.log.info 'kt is up' kt.sleep '1h' end)")
      h.write_file(dir .. "/rules", (h.read_file(root .. "/etc/logrotate.d/kt"):gsub("/var/log", dir .. "/log")))
      local p = h.start { name = "kt", cmd = { h.peer.kt, "run", "--control", "none", "--log", logs .. "/kt.log", dir .. "/near.lua" } }
      local function logged(file, text)
        h.loop.eventually(text, 20, function()
          local log = io.open(logs .. "/" .. file)
          return log and log:read "a":find(text, 1, true)
        end)
      end
      logged("kt.log", "kt is up")
      for n = 1, 2 do
        ok("logrotate --force --state %s/state %s/rules", dir, dir)
        logged("kt.log.1", n == 1 and "kt is up" or "the log continues")
        assert.is_nil(io.open(logs .. "/kt.log"))
        p:signal_with "sigusr2"
        logged("kt.log", ("SIGUSR2: the log continues in %s/kt.log"):format(logs))
      end
      assert.truthy(uv.fs_stat(logs .. "/kt.log.2.gz"))
      assert.equal(0, p:stop())
    end)
  end)

  it("is installed by the steps of the image's recipe, runs as the image's user, and leaves nothing when it is purged", function()
    local recipe = h.read_file "packaging/Containerfile"
    local install = assert(recipe:match "&& (apt%-get install [^\n]-) \\\n"):gsub("/tmp/", "/mnt/")
    local user, group = recipe:match "\nUSER (%d+):(%d+)\n"
    local code, text
    h.run(function()
      local p = h.start { name = "chroot", cmd = { "sh", "spec/support/chroot.sh", dir, table.concat({
        "export DEBIAN_FRONTEND=noninteractive", "echo 'path-exclude=/usr/share/man/*' >/etc/dpkg/dpkg.cfg.d/slim", install,
        "stat -c 'folder %a %U:%G' /etc/kt",
        ("setpriv --reuid %s --regid %s --clear-groups %s version"):format(user, group, recipe:match '\nENTRYPOINT %["([^"]+)"%]\n'),
        "apt-get purge -y kt", "ls -d /etc/kt /usr/bin/kt /etc/logrotate.d/kt /lib/systemd/system/kt* 2>/dev/null || echo gone",
      }, "; ") } }
      code, text = p:wait_exit(120), p.stdout
    end)
    if code == 77 then return pending "needs root, and an overlay of the file system" end
    assert.equal(0, code)
    assert.matches("\nfolder 750 root:kt\nkt %d+%.%d+%.%d+[^\n]*\n", text)
    assert.matches("\ngone\n$", text)
  end)

  it("has services with an exposure of at most 2.0", function()
    for _, unit in ipairs { "kt@", "kt-client", "kt-server" } do
      ok("cp %s/lib/systemd/system/%s.service %s/%s.service", root, unit, dir, (unit:gsub("@", "@x")))
      ok("systemd-analyze security --no-pager --offline=true --threshold=20 %s/%s.service", dir, (unit:gsub("@", "@x")))
    end
    -- The default would be "kt", for all instances; systemd refuses it, as a static group has that name.
    assert.matches("\nUser=kt%-run%-%%i\n", h.read_file(root .. "/lib/systemd/system/kt@.service"))
  end)

  it("has services whose command lines start, reload and end as systemd expects", function()
    h.run(function()
      local port = h.sockets.free_port "udp"
      h.write_file(root .. "/etc/kt/psk.key", "a key for the spec")
      h.write_file(root .. "/etc/kt/near.lua", ([[
local kt = require "kt"
local far = kt.link { remote = "127.0.0.1:%d", key = kt.secret_file "psk.key" }
kt.listen { on = "127.0.0.1:0" }:serve(function(conn) conn:reset(far:probe() and "closed" or "failed") end)]]):format(port))
      h.write_file(root .. "/etc/kt/client.json", ('{"key": "k", "localaddr": "127.0.0.1:0", "remoteaddr": "127.0.0.1:%d"}'):format(port))
      h.write_file(root .. "/etc/kt/server.json", ('{"key": "k", "listen": "127.0.0.1:%d"}'):format(port))
      ok("chmod 640 %s/etc/kt/*", root)
      local function serves(unit, name)
        local text = h.read_file(("%s/lib/systemd/system/%s.service"):format(root, unit)):gsub("%%i", "near")
        assert.matches("\nType=notify\n", text)
        assert.matches("\nExecReload=/bin/kill %-HUP %$MAINPID\n", text)
        assert.matches(("\nRuntimeDirectory=kt/%s\n"):format(name:gsub("%-", "%%-")), text)
        ok("mkdir -p %s/run/kt/%s %s/var/lib/kt/%s", root, name, root, name)
        local here = os.getenv "PWD" .. "/spec/support/"
        local cmd = { "python3", here .. "journal.py", "python3", here .. "manager.py", "--" }
        for word in text:match "\nExecStart=([^\n]+)":gmatch "%S+" do
          cmd[#cmd + 1] = word:find "^/" and root .. word or word -- in the folder instead of /
        end
        local own = ("%s/%s"):format(dir, unit)
        ok("mkdir %s && touch %s/done", own, own) -- the journal is read from the start
        local p = h.start { name = unit, cmd = cmd, cwd = own }
        local pid = tonumber((p:expect "pid (%d+)\n"))
        p:expect "notify READY=1\n"
        p:expect "notify WATCHDOG=1\n"
        assert.truthy(uv.fs_stat(("%s/run/kt/%s/%s.sock"):format(root, name, (name:gsub("^kt%-", "")))))
        p:mark()
        uv.kill(pid, "sighup")
        p:expect "notify RELOADING=1 .*notify READY=1\n"
        uv.kill(pid, "sigterm")
        p:expect "notify STOPPING=1\n"
        p:expect "exit 0\n"
        p:wait_exit(10)
        assert.equal("", p.stderr)
        local journal = h.read_file(own .. "/journal")
        assert.matches("PRIORITY=6|SYSLOG_IDENTIFIER=kt|KT_SCRIPT=%l+|MESSAGE=listening on", journal)
        journal = journal:gsub("PRIORITY=4[^\n]*MESSAGE=the reload blocked [^\n]*", "") -- on a busy machine
        assert.is_nil(journal:find("PRIORITY=[0-4]"), journal)
      end
      h.loop.all(60, function() serves("kt@", "near") end, function() serves("kt-client", "kt-client") end, function() serves("kt-server", "kt-server") end)
    end)
  end)
end)
