-- Completions of the shells for a command line of kt: verbs, flags, values of flags, running instances, examples. Each shell that is installed is asked.
local h = require "harness"

local kt = assert(os.getenv "KT_BIN", "KT_BIN is not set")

local function sh(command, ...)
  local pipe = assert(io.popen(command:format(...) .. " 2>&1"))
  local out = pipe:read "a"
  assert.is_true((pipe:close()), command:format(...) .. "\n" .. out)
  return out
end

describe("completion of kt's command line", function()
  local dir

  -- A kt before the built one in PATH, which says that instances run, two of the same name.
  setup(function()
    dir = os.tmpname()
    os.remove(dir)
    sh("mkdir -p %s/bin", dir)
    sh("cmake -DKT=%s -DVERSION=0 -DDIR=%s/made -P cmake/Manual.cmake", kt, dir)
    h.write_file(dir .. "/bin/kt", ("#!/bin/sh\n[ \"$*\" = 'list --names' ] && exec printf 'edge\\nhome\\nedge\\n'\nexec %s \"$@\"\n"):format(kt))
    sh("chmod +x %s/bin/kt", dir)
  end)
  teardown(function() os.execute("rm -rf " .. dir) end)

  -- The completions of a shell for each of several lines.
  local ways = {}

  -- bash gives its function the words of the line, which it also breaks at "=".
  function ways.bash(lines)
    local offers = {}
    for i, line in ipairs(lines) do
      local words = {}
      for word in line:gmatch "%S+" do words[#words + 1] = '"' .. word .. '"' end
      if line:find " $" then words[#words + 1] = '""' end
      offers[i] = sh([[PATH=%s/bin:$PATH bash -c 'source %s/made/completions/kt.bash; compopt() { :; }
        COMP_WORDS=(%s); COMP_CWORD=%d; _kt; printf "%%s\n" "${COMPREPLY[@]}"']], dir, dir, table.concat(words, " "), #words - 1)
    end
    return offers
  end

  function ways.fish(lines)
    local offers = {}
    for i, line in ipairs(lines) do
      offers[i] = sh([[cd %s/made/man; PATH=%s/bin:$PATH HOME=%s fish -c 'source ../completions/kt.fish; complete -C "%s"']], dir, dir, dir, line)
    end
    return offers
  end

  -- zsh's completion runs in a terminal, which zpty makes. A key lists the offers for a line, the next clears it, and a mark follows.
  function ways.zsh(lines)
    local script = { ([[
      zmodload zsh/zpty
      zpty ask zsh -f -i
      zpty -w ask 'PS1=ready%%%%; PATH=%s/bin:$PATH; fpath=(%s/made/completions $fpath); cd %s/made/man; autoload -Uz compinit; compinit -u -D'
      zpty -w ask 'stty columns 200'
      zpty -w ask "LISTMAX=1000; bindkey '^I' list-choices; print mark''0"
      zpty -r ask text '*mark0*ready%%'
    ]]):format(dir, dir, dir) }
    for i, line in ipairs(lines) do
      script[#script + 1] = ([[zpty -w -n ask '%s'$'\t\C-u'"print mark''%d"$'\n'; zpty -r ask text '*mark%d*ready%%'; print -r -- "$text"]]):format(line, i, i)
    end
    h.write_file(dir .. "/ask.zsh", table.concat(script, "\n") .. "\n")
    local text, offers = sh("zsh -f %s/ask.zsh", dir):gsub("\27%[[%d;?]*%a", ""), {}
    for i = 1, #lines do offers[i], text = text:match(("^(.-)mark%d(.*)$"):format(i)) end
    return offers
  end

  local cases = {
    { "kt ke", "keygen" },
    { "kt run --allow-w", "--allow-write" },
    { "kt run --log-level ", "debug error info quiet warn" },
    { "kt client --wire ", "auto kcptun kt" },
    { "kt server --proxy ", "none v1 v2" },
    { "kt doctor --crypt aes-1", "aes-128 aes-128-gcm aes-192" },
    { "kt status ", "edge home" },
    { "kt log ", "debug edge error home info quiet warn" },
    { "kt new rou", "route-by-port router" },
    { "kt help kt.po", "kt.pool" },
    { "kt help ser", "server" },
    { "kt client --key ", "" }, -- no files
  }

  for _, shell in ipairs { "bash", "fish", "zsh" } do
    if h.installed(shell) then
      it("offers values, instances and examples in " .. shell, function()
        local lines = {}
        for i, case in ipairs(cases) do lines[i] = case[1] end
        for i, text in ipairs(ways[shell](lines)) do
          local offers = {}
          for offer in text:gmatch "%S+" do offers[offer] = true end
          for offer in cases[i][2]:gmatch "%S+" do assert.is_true(offers[offer], ("%s: %s is missing in %s"):format(lines[i], offer, text)) end
          assert.is_nil(offers["kt-run.1"], lines[i])
        end
      end)
    end
  end

  it("offers files where files are expected, and values after an equals sign, in bash", function()
    assert.equal("json\n", ways.bash { "kt client --logformat = js" }[1])
    assert.equal("edge\n", ways.bash { "kt status ed" }[1]) -- two of that name run
    assert.equal("fast\nfast2\nfast3\n", ways.bash { "kt client -mode fa" }[1])
    assert.matches("spec/cli/completions_spec%.lua\n", ways.bash { "kt check spec/cli/compl" }[1])
  end)
end)
