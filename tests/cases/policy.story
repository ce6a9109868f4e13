A team wants the key of an issue in each commit of main. First it looks at what that would have said of the past.

$ git init --quiet --bare --initial-branch=main repositories/tool.git && git clone --quiet repositories/tool.git repositories/mine
warning: You appear to have cloned an empty repository.

$ cd repositories/mine && git commit --quiet --allow-empty -m 'quick fix' && git push --quiet origin main

$ printf '[[policy]]\nlevel = "block"\nbranches = ["main", "ABC-*"]\nkey = true\n' > head && mv config.toml tail && cat head tail > config.toml

$ cd repositories/mine && agent check --since 1.week
commit      level  rule       what
[..]  block  key        “quick fix” names no issue
by rule: key 1
1 commit: 1 would be refused, 0 would be warned of
? 1

What is there stays there. From now on the server asks.

$ agent install repositories/tool.git
it belongs to account main ([..]/repositories)
pre-receive installed
post-receive installed
they are in [..]/repositories/tool.git/hooks; the repository has the id [..]
from now on a push to it says what it links

$ cd repositories/mine && git commit --quiet --allow-empty -m 'another one' && git push --quiet origin main
remote: jira: this push is refused by the policy of this repository
remote:   key: [..] “another one” names no issue; put the key of an issue in, such as PROJ-123 at its beginning
remote:   to mend it: git commit --amend, and push again
To [..]/repositories/tool.git
 ! [remote rejected] main -> main (pre-receive hook declined)
error: failed to push some refs to '[..]/repositories/tool.git'
? 1

With hooks in the clone, the branch's key is in the message before anybody asks for it, and what is wrong is said before the commit exists.

$ cd repositories/mine && git reset --quiet --hard origin/main && agent install > /dev/null

$ cd repositories/mine && git commit --quiet --allow-empty -m 'another one'
jira: this commit is not made: the policy of this repository refuses it
  key: names no issue; put the key of an issue in, such as PROJ-123 at its beginning
  the message is kept in .git/COMMIT_EDITMSG; to mend it and go on: git commit -e -F .git/COMMIT_EDITMSG
  or have the key put in, and go on: agent check --fix && git commit -F .git/COMMIT_EDITMSG
? 1

$ cd repositories/mine && git switch --quiet -c ABC-3-another && git commit --quiet --allow-empty -F .git/COMMIT_EDITMSG
jira: links ABC-3

$ cd repositories/mine && git log -1 --format=%s
ABC-3 another one

$ cd repositories/mine && agent check origin/main..
1 commit: 0 would be refused, 0 would be warned of
