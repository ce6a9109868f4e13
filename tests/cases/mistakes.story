Each mistake gets one sentence that says what, where, and what to do.

$ mkdir elsewhere && cd elsewhere && agent install
agent: [..]/elsewhere is neither a git repository nor inside one
? 1

$ printf '[hook]\nanswr = true\n' > bad.toml; agent --config bad.toml status
agent: [..]/bad.toml:2:1: unknown field `answr` — did you mean `answer`?
? 78

$ agent --config none.toml status
agent: no configuration: [..]/none.toml does not exist; `agent link` makes one
? 78

$ printf wrong > wrong; agent --config new.toml link "$SITE" --client-id sandbox-client --secret-file wrong --api-url "$SITE" --auth-url "$SITE/oauth/token"
agent: nothing was saved: the site could not be reached with this credential
  because getting a token failed: [..]
? 1

$ ls new.toml credentials
credentials:
ls: cannot access 'new.toml': No such file or directory
? 2

$ agent link http://jira.example.org --client-id x --secret-file wrong --untried --name other
agent: [..]config.toml: site other: [..]
? 78

$ agent link https://jira.example.org
agent: site jira is at http://127.0.0.1:[..]: --name says what to call this one
? 1

$ agent link https://jira.example.org --name other
agent: what is missing: client id; `agent link --help` shows the flags
? 1

$ agent queue show 0123
agent: the daemon is not running; [..]
? 69
