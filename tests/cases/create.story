Sam has a linked site and an empty folder for repositories, and makes the first one.

$ agent daemon start
the daemon runs as process [..]

$ agent repo create 'My Tool' --project team --description 'What we all use' > said; grep . said
made team/my-tool of account main, in [..]/repositories/team/my-tool.git
only its owner reads and writes it; the hooks are in it, its id is [..]
to begin in an empty folder:
  git clone [..]@[..]:[..]/repositories/team/my-tool.git
  cd my-tool
  git add --all && git commit -m "ABC-1 begin"
  git push origin HEAD:main
to put in files that Git does not know yet, in their folder:
  git init --initial-branch=main
  git add --all && git commit -m "ABC-1 begin"
  git remote add origin [..]/repositories/team/my-tool.git
  git push --set-upstream origin main
to push a history that exists, in its clone (not with --mirror, which takes along what it knows of others):
  git remote add origin [..]      # or: git remote set-url origin [..]
  git push --set-upstream origin --all
  git push origin --tags

$ git clone --quiet repositories/team/my-tool.git work
warning: You appear to have cloned an empty repository.

$ cd work && git commit --quiet --allow-empty -m 'ABC-1 begin' && git push --quiet origin HEAD:main
remote: jira: 1 commit queued for Jira
remote:   ABC-1  http://127.0.0.1:[..]/browse/ABC-1

$ until agent why ABC-1 | grep -q 'has it since'; do sleep 0.1; done

The same address in other letters is taken.

$ agent repo create MY-tool --project Team
agent: there is a repository with this address already: [..]/repositories/team/my-tool.git; choose a name that differs in more than upper and lower case
? 1

$ agent repo create .git
agent: ".git" makes no address: it needs a letter from a to z or a digit
? 1

$ agent repo create other --account nobody
agent: there is no account called nobody; there are: main
? 1

$ ls -A repositories repositories/team | grep .
repositories:
team
repositories/team:
my-tool.git

$ agent daemon stop
the daemon has ended; what it was owed stays in the queue
