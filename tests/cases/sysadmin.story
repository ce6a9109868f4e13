Sam has a folder of bare repositories and a linked site; the daemon is not there yet.

$ git init --quiet --bare --initial-branch=main repositories/tool.git

$ agent install repositories/tool.git
it belongs to account main ([..]/repositories)
pre-receive installed
post-receive installed
they are in [..]/repositories/tool.git/hooks; the repository has the id [..]
from now on a push to it says what it links

$ agent status
agent: the daemon is not running; `agent daemon start`, or `systemctl start git-jira-agent`, starts it
? 69

$ agent daemon start
the daemon runs as process [..] and logs to [..]/state/daemon.log

$ agent daemon start
agent: the daemon runs already, as process [..]
? 75

$ git clone --quiet repositories/tool.git clones/work
warning: You appear to have cloned an empty repository.

$ cd clones/work && git commit --quiet --allow-empty -m 'ABC-1 begin' && git push --quiet origin HEAD:refs/heads/ABC-2-start
remote: jira: 1 commit, 1 branch queued for Jira
remote:   ABC-1  http://127.0.0.1:[..]/browse/ABC-1
remote:   ABC-2  http://127.0.0.1:[..]/browse/ABC-2

$ until agent why ABC-1 | grep -q 'has it since'; do sleep 0.1; done; agent why ABC-2-start
branch ABC-2-start
  event     [..] pushed at [..]
  in        [..]/repositories/tool.git
  moved     refs/heads/ABC-2-start none -> [..]
  keys      ABC-2
  queued    [..] for site jira as number [..]
  Jira      has it since [..]

$ agent status
daemon [..] runs as process [..]
  takes events
  0 events to be read; 0 intents open
site jira http://127.0.0.1:[..]
  is told
  2 told, 0 due, 0 wait for a key, 0 parked
  from event to accepted: [..]
account main ([..]/repositories) -> jira: 1 repositories have sent events

$ cd repositories/tool.git && agent doctor
ok   git version [..]
ok   the configuration [..]/config.toml is in order
ok   the daemon runs and takes events
ok   the hooks' socket is [..]/agent.sock
ok   the queue in [..]/state is held by process [..]
ok   the spool is [..]/spool/incoming
ok   site jira answers (cloud id [..]) and takes development information
ok   [..]/repositories/tool.git lies in account main
ok   it can be read, its id is [..]
ok   pre-receive fires
ok   post-receive fires

Sam has seen enough, and wants Jira to forget it.

$ agent uninstall --forget repositories/tool.git
1 sites were told of it and are to forget it
removed [..]/hooks/pre-receive
removed [..]/hooks/post-receive
its id is forgotten, its config is as it was

$ until agent queue list --state settled --json | grep -q '"kind": "repository"'; do sleep 0.1; done

$ agent daemon stop
the daemon has ended; what it was owed stays in the queue
