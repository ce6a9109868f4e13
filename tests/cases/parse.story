Ann wonders what her message will do. Nothing is sent.

$ printf 'Fix login, ABC-1 and abc-2\n\nABC-1 #comment see UTF-8 #time 1h 30m typing\nABC-2 #time 90\n' | agent parse
Fix login, ABC-1 and abc-2
  links ABC-1 (bytes 11-16)
  links ABC-2 (bytes 21-26)
  on ABC-1: comment “see UTF-8”
  on ABC-1: log 1h 30m of work, with the comment “typing”
  on ABC-2: #time is not done: [..]
    this would have worked: #time 90m
  UTF-8 links nothing: no such project

A revert links, and gives no orders.

$ printf 'Revert "ABC-1 #close"\n\nThis reverts commit 0123456789012345678901234567890123456789.\n' | agent parse
Revert "ABC-1 #close"
  links ABC-1 [..]
  on ABC-1: #close is not done: a revert gives no orders

For programs there is JSON, one object a message.

$ printf 'ABC-1 #close\0nothing\0' | agent parse -z --json --strict
{"linked_keys":["ABC-1"],"commands":[{"issue_key":"ABC-1","command":"close","type":"transition","argument":""}]}
{"linked_keys":[],"commands":[]}
