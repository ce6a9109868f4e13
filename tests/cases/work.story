Wei has a clone, and an account at Jira through which the agent asks.

$ git init --quiet --bare --initial-branch=main server.git && git clone --quiet server.git repositories/tool 2> /dev/null
$ cd repositories/tool && agent install > /dev/null && git commit --quiet --allow-empty -m begin && git push --quiet origin main
$ agent daemon start
the daemon runs as process [..]

An issue becomes a branch, and its key is known from then on.

$ cd repositories/tool && agent issue abc-3
ABC-3  Task, To Do, nobody  An issue
  http://127.0.0.1:[..]/browse/ABC-3

$ cd repositories/tool && agent branch ABC-3 --push
made ABC-3-an-issue and switched to it

$ cd repositories/tool && git log -1 --format=%s origin/ABC-3-an-issue && agent open --print
begin
http://127.0.0.1:[..]/browse/ABC-3

In another worktree it is the issue of that worktree's branch.

$ cd repositories/tool && git worktree add --quiet -b ABC-4-beside ../../beside && cd ../../beside && agent open --print
http://127.0.0.1:[..]/browse/ABC-4

$ cd beside && agent log-time 1h 30m looked into it
ABC-4 #time 1h 30m: done[..]

$ cd beside && agent log-time ABC-4 1h '#close'
agent: a part of the comment reads as another order; write it without # and without keys
? 1

$ cd beside && agent log-time ABC4-x 1h
agent: ABC4-x is no issue key, such as ABC-12
? 1

Words that Git would take for something else are words.

$ cd repositories/tool && agent branch ABC-5 --from=--force
agent: there is no commit --force
? 1

$ cd repositories/tool && agent branch ABC-5 --name=--detach
agent: Git takes no branch called --detach
? 1

$ cd repositories/tool && agent branch ABC-5 --name='@{-1}'
agent: Git takes no branch called @{-1}
? 1

$ cd repositories/tool && agent branch ABC-5 --push --remote=--mirror
made ABC-5-an-issue and switched to it
agent: git push: [..]--mirror[..]
...
? 1

What a hook or a script has set around it leads to no other repository.

$ git init --quiet elsewhere && cd repositories/tool && GIT_DIR=../../elsewhere/.git GIT_INDEX_FILE=/nonexistent/index agent branch ABC-6 --no-start
made ABC-6-an-issue and switched to it

$ git -C repositories/tool branch --show-current && git -C elsewhere branch --list
ABC-6-an-issue

Nothing that is open is tidied, nothing that is checked out anywhere, and nothing at all unasked.

$ cd repositories/tool && git branch ABC-7-done && git tag ABC-7-done && git update-ref refs/heads/-ABC-8 HEAD && git worktree add --quiet -b ABC-8-here ../../here

$ cd repositories/tool && agent tidy
  done    -ABC-8  ABC-8 Done, merged
  open    ABC-3-an-issue  ABC-3 To Do
  open    ABC-5-an-issue  ABC-5 To Do
  done    ABC-7-done  ABC-7 Done, merged
nothing was deleted; --delete deletes what is done and merged

$ cd repositories/tool && agent tidy --delete
deleted   -ABC-8  ABC-8 Done, it was [..]
  open    ABC-3-an-issue  ABC-3 To Do
  open    ABC-5-an-issue  ABC-5 To Do
deleted   ABC-7-done  ABC-7 Done, it was [..]

$ git -C repositories/tool for-each-ref --format='%(refname)' refs/heads
refs/heads/ABC-3-an-issue
refs/heads/ABC-4-beside
refs/heads/ABC-5-an-issue
refs/heads/ABC-6-an-issue
refs/heads/ABC-8-here
refs/heads/main

Without the daemon a branch is made all the same.

$ agent daemon stop > /dev/null; cd repositories/tool && agent branch ABC-9
made ABC-9 and switched to it
the branch gets no words of the summary: the daemon is not running[..]
