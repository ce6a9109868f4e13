Mona works in a clone whose team wants the key of an issue in each commit.

$ git init --quiet --bare --initial-branch=main server.git && git clone --quiet server.git repositories/tool 2> /dev/null
$ printf '[[policy]]\nlevel = "block"\nkey = true\n' > head && mv config.toml tail && cat head tail > config.toml
$ cd repositories/tool && git commit --quiet --allow-empty -m begin && agent install > /dev/null

Her branch says which issue she works on, so she need not.

$ cd repositories/tool && git switch --quiet -c ABC-3-login && git commit --quiet --allow-empty -m 'let people in'
jira: links ABC-3

$ cd repositories/tool && git commit --quiet --allow-empty -m 'fix(door)!: turn the key' && git log -1 --format=%s
fix(door)!: ABC-3 turn the key
jira: links ABC-3

Where she wants the key as a trailer, she says so in this clone.

$ cd repositories/tool && git config agent.key trailer && touch oil && git add oil && git commit --quiet -m 'oil the hinge' && git log -1 --format=%B | grep . && git config --unset agent.key
oil the hinge
Issue: ABC-3
jira: links ABC-3

What has a message of its own keeps it, and is not asked for a key.

$ cd repositories/tool && git commit --quiet --allow-empty --fixup HEAD && git log -1 --format=%s
fixup! oil the hinge

$ cd repositories/tool && git revert --no-edit HEAD~1 > /dev/null && git log -1 --format=%s
Revert "oil the hinge"

$ cd repositories/tool && git rebase --quiet --force-rebase HEAD~2 && git log -2 --format=%s
Revert "oil the hinge"
fixup! oil the hinge

On a branch that names no issue she hears of it before the commit exists, wherever she stands.

$ cd repositories/tool && git switch --quiet -c other && mkdir -p 'a folder/below' && cd 'a folder/below' && git commit --quiet --allow-empty -m 'lost words'
jira: this commit is not made: the policy of this repository refuses it
  key: names no issue; put the key of an issue in, such as PROJ-123 at its beginning
  the message is kept in ../../.git/COMMIT_EDITMSG; to mend it and go on: git commit -e -F ../../.git/COMMIT_EDITMSG
  or have the key put in, and go on: agent check --fix && git commit -F ../../.git/COMMIT_EDITMSG
? 1

$ cd 'repositories/tool/a folder/below' && GIT_EDITOR='sed -i "1s/^/ABC-4 /"' git commit --quiet --allow-empty -e -F ../../.git/COMMIT_EDITMSG && git log -1 --format=%s
ABC-4 lost words
jira: links ABC-4

She may go past it; the server decides for itself.

$ cd repositories/tool && git commit --quiet --allow-empty --no-verify -m 'in a hurry' && git log -1 --format=%s
in a hurry

$ cd repositories/tool && agent check HEAD
commit      level  rule       what
[..]  block  key        “in a hurry” names no issue
by rule: key 1
1 commit: 1 would be refused, 0 would be warned of
? 1
