Dana has a clone of a repository on a server that knows nothing of Jira.

$ git init --quiet --bare --initial-branch=main server.git && git clone --quiet server.git repositories/tool
warning: You appear to have cloned an empty repository.

$ cd repositories/tool && agent install
it belongs to account main ([..]/repositories)
prepare-commit-msg installed
commit-msg installed
pre-push installed
reference-transaction installed
they are in [..]/repositories/tool/.git/hooks; the repository has the id [..]
from now on a commit says what is wrong with its keys, and a push says what it links

A message is answered with what was read in it and what was not, and is not stopped.

$ cd repositories/tool && git commit --quiet --allow-empty -m 'ABC-1 begin'
jira: links ABC-1

$ cd repositories/tool && git commit --quiet --allow-empty -m 'abd-1 read as UTF-8' -m 'ABC-1 #time 90'
jira: links ABC-1
jira: #time is not understood: [..]; write #time 90m
jira: UTF-8 links nothing (no such project)
jira: abd-1 links nothing (no such project)

The daemon is off; what is pushed waits. What was never pushed never leaves the clone.

$ cd repositories/tool && git push --quiet origin main
jira: 2 commits kept for Jira until the daemon is back (the daemon is not running)
  ABC-1  http://127.0.0.1:[..]/browse/ABC-1
...

$ agent daemon start
the daemon runs as process [..]

$ until agent queue list --state settled --json | grep -c '"kind": "commit"' | grep -q 2; do sleep 0.1; done
