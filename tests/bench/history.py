#!/usr/bin/env python3
"""Makes a repository with a long, plausible and always equal history.

    history.py DIRECTORY [COMMITS] [SEED] [SHAPE]

About 2,000 files in nested directories, small edits, one merge in ten commits, an issue key in six messages of ten.
The shape "wide" has 4,000 larger files, a quarter of them side by side at the root, as git's own repository has.
The history is streamed into `git fast-import` and then packed once, so that its deltas look like a server's.
"""

import os
import random
import subprocess
import sys

WORDS = """account batch branch cache client commit config console cursor daemon default event field file filter frame
handle header history index issue key ledger limit line lock log mail merge message number order page parse path policy
push query queue rate read record refs report request retry route send server session site socket spool state status
store sync table team test time token trace tree update user value verdict wait walk watch word write""".split()
PEOPLE = [(f"{name.title()} Example", f"{name}@example.com") for name in WORDS[:40]]
# Files, how deep they lie, how long they are about and at most at first, and at most later.
SHAPES = {"deep": (2000, (1, 2, 3, 4), 60, 1500, 2000), "wide": (4000, (0, 1, 2, 3), 150, 4000, 6000)}
START = 1_500_000_000


def line(rng):
    """One line of source; a few are the blank lines and braces that every file has many of."""
    kind = rng.random()
    if kind < 0.12:
        return b""
    if kind < 0.22:
        return b"    }" if kind < 0.18 else b"}"
    indent = b"    " * rng.randrange(1, 4)
    return indent + f"{rng.choice(WORDS)}_{rng.choice(WORDS)}({rng.choice(WORDS)}, {rng.randrange(1000)});".encode()


def edit(rng, lines, most):
    """Changes, adds, removes or moves a few neighbouring lines."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(lines) + 1)
        span = rng.choice((1, 1, 1, 2, 3, 8))
        kind = rng.random()
        if kind < 0.5:
            lines[at : at + span] = [line(rng) for _ in range(span)]
        elif kind < 0.8 and len(lines) < most:
            lines[at:at] = [line(rng) for _ in range(span)]
        elif kind < 0.95 and len(lines) > 40:
            del lines[at : at + span]
        else:
            cut = lines[at : at + span]
            del lines[at : at + span]
            to = rng.randrange(len(lines) + 1)
            lines[to:to] = cut


def message(rng, number):
    subject = " ".join(rng.choice(WORDS) for _ in range(rng.randrange(4, 9)))
    if rng.random() < 0.6:
        subject = f"{rng.choice(('PROJ', 'WEB', 'OPS2'))}-{rng.randrange(1, 4000)} {subject}"
    body = "\n".join(
        " ".join(rng.choice(WORDS) for _ in range(rng.randrange(6, 12))) for _ in range(rng.choice((0, 0, 2, 5, 9)))
    )
    return f"{subject}\n\n{body}\n\nChange-Number: {number}\n".encode()


class History:
    def __init__(self, out, rng, shape):
        self.out, self.rng, self.shape, self.files, self.mark = out, rng, shape, {}, 0

    def data(self, payload):
        self.out.write(b"data %d\n%s\n" % (len(payload), payload))

    def put(self, path, content):
        self.out.write(b"M 100644 inline %s\n" % path)
        self.data(content)

    def commit(self, ref, first, second=None):
        rng, self.mark = self.rng, self.mark + 1
        name, mail = rng.choice(PEOPLE)
        self.out.write(b"commit %s\nmark :%d\n" % (ref, self.mark))
        for role in (b"author", b"committer"):
            when = START + self.mark * 997
            self.out.write(b"%s %s <%s> %d +0200\n" % (role, name.encode(), mail.encode(), when))
        self.data(message(rng, self.mark))
        if first:
            self.out.write(b"from :%d\n" % first)
        if second:
            self.out.write(b"merge :%d\n" % second)
        return self.mark

    def content(self, lines):
        return b"\n".join(lines) + b"\n"

    def change(self, path):
        if path.endswith(b".png"):
            self.put(path, b"\x89PNG\0" + self.rng.randbytes(200))
        else:
            edit(self.rng, self.files[path], self.shape[-1])
            self.put(path, self.content(self.files[path]))

    def first(self):
        rng = self.rng
        files, depths, length, longest, _ = self.shape
        mark = self.commit(b"refs/heads/main", None)
        for number in range(files):
            depth = rng.choice(depths)
            directory = "".join(WORDS[(number * 7 + level * level * 3) % (6 + level * 5)] + "/" for level in range(depth))
            name = f"{WORDS[number % len(WORDS)]}{number}.{'png' if number % 50 == 0 else 'c'}"
            path = f"{'src/' if depth else ''}{directory}{name}".encode()
            self.files[path] = [line(rng) for _ in range(int(rng.paretovariate(1.3) * length) % longest + 20)]
            self.put(path, self.content(self.files[path]))
        return mark

    def run(self, commits):
        """Main works on one half of the files and side branches on the other, so that a merge has no conflict."""
        rng, tip, side = self.rng, self.first(), None
        paths = list(self.files)
        ours = paths[: len(paths) // 2]
        theirs = [path for path in paths[len(paths) // 2 :] if not path.endswith(b".png")]
        aside = set()
        for number in range(2, commits + 1):
            if side and number % 10 == 0:
                tip = self.commit(b"refs/heads/main", tip, side)
                for path in sorted(aside):
                    self.put(path, self.content(self.files[path]))
                side, aside = None, set()
            elif number % 10 in (5, 7):
                side = self.commit(b"refs/heads/side", side or tip)
                touched = self.touch(theirs)
                aside.update(touched)
            else:
                tip = self.commit(b"refs/heads/main", tip)
                self.touch(ours)
        self.out.write(b"done\n")

    def touch(self, paths):
        rng = self.rng
        touched = {paths[int(rng.random() ** 3 * len(paths))] for _ in range(rng.choice((1, 1, 2, 3, 6)))}
        for path in sorted(touched):
            self.change(path)
        return touched


def main():
    directory = sys.argv[1]
    commits = int(sys.argv[2]) if len(sys.argv) > 2 else 80_000
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    shape = SHAPES[sys.argv[4] if len(sys.argv) > 4 else "deep"]
    env = {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "HOME": "/nonexistent"}
    git = ["git", f"--git-dir={os.path.abspath(directory)}"]
    subprocess.run(git + ["init", "--quiet", "--bare", "--initial-branch=main"], check=True, env=env)
    importer = subprocess.Popen(git + ["fast-import", "--quiet", "--done", "--force"], stdin=subprocess.PIPE, env=env)
    History(importer.stdin, random.Random(seed), shape).run(commits)
    importer.stdin.close()
    if importer.wait() != 0:
        sys.exit("fast-import failed")
    subprocess.run(git + ["repack", "-adfq", "--window=10", "--depth=50"], check=True, env=env)


if __name__ == "__main__":
    main()
