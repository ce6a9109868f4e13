#!/usr/bin/env python3
"""Makes a repository with a long, plausible and always equal history.

    history.py DIRECTORY [COMMITS] [SEED] [SHAPE]

About 2,000 files in nested directories, small edits, one merge in ten commits, an issue key in six messages of ten.
The shape "wide" has 4,000 larger files, a quarter of them side by side at the root, as git's own repository has.
The history is streamed into `git fast-import` and then packed once, so that its deltas look like a server's.

The shape "lean" is for very long histories: its messages, merges and keys are as many as in the others, but it has 144
files of a few lines, and several branches are open at any time. It is not packed anew.
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
# The shape "lean": folders, files in each, lines of a file, side branches that are open at a time.
FOLDERS, FILES, LINES, SIDES = 12, 12, 8, 6


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


class Lean:
    """A history whose commits cost little to write: what varies is chosen from what was made before.

    Main works on one half of the folders; each side branch has one of the others for itself, so that a merge has no
    conflict. A branch begins at main, gets two commits on average and is merged.
    """

    def __init__(self, out, rng):
        self.out, self.bits, self.mark = out, rng.getrandbits, 0
        self.lines = [line(rng) + b"\n" for _ in range(1 << 12)]
        words = [[rng.choice(WORDS) for _ in range(rng.randrange(4, 9))] for _ in range(1 << 12)]
        self.subjects = [" ".join(subject).encode() for subject in words]
        self.bodies = [message(rng, 0).split(b"\n", 1)[1].rsplit(b"Change-", 1)[0] for _ in range(1 << 12)]
        self.projects = (b"PROJ", b"WEB", b"OPS2")
        self.people = [f"{name} <{mail}>".encode() for name, mail in PEOPLE]
        self.heads = [
            [f"M 100644 inline {WORDS[folder * 5]}/{WORDS[file * 4 + 1]}.c\n".encode() for file in range(FILES)]
            for folder in range(FOLDERS)
        ]
        self.files = [[[rng.choice(self.lines) for _ in range(LINES)] for _ in range(FILES)] for _ in range(FOLDERS)]

    def commit(self, ref, parents=b""):
        """Writes all of a commit but its files."""
        self.mark = mark = self.mark + 1
        bits = self.bits(64)
        subject = self.subjects[bits & 4095]
        bits >>= 12
        body = self.bodies[bits & 4095]
        bits >>= 12
        person = self.people[(bits & 255) % len(self.people)]
        bits >>= 8
        if (bits & 1023) < 614:
            subject = b"%s-%d %s" % (self.projects[(bits >> 10) % 3], 1 + (bits >> 12) % 3999, subject)
        when = START + mark * 241
        text = b"%s\n%sChange-Number: %d\n" % (subject, body, mark)
        self.out.write(
            b"commit %s\nauthor %s %d +0200\ncommitter %s %d +0200\ndata %d\n%s\n%s"
            % (ref, person, when - (bits >> 24) * 60, person, when, len(text), text, parents)
        )

    def put(self, folder, number):
        content = b"".join(self.files[folder][number])
        self.out.write(b"%sdata %d\n%s\n" % (self.heads[folder][number], len(content), content))

    def change(self, folder):
        """Changes one line of one file; gives the file's number."""
        bits = self.bits(32)
        number = (bits & 255) % FILES
        self.files[folder][number][(bits >> 8) % LINES] = self.lines[bits >> 20]
        self.put(folder, number)
        return number

    def run(self, commits):
        main, sides = b"refs/heads/main", [b"refs/heads/side-%d" % number for number in range(SIDES)]
        # The files that each open branch has touched.
        touched = [None] * SIDES
        self.commit(main)
        for folder in range(FOLDERS):
            for number in range(FILES):
                self.put(folder, number)
        for left in range(commits - 1, 0, -1):
            bits = self.bits(24)
            waiting = [side for side in range(SIDES) if touched[side]]
            # At last all that is open is merged.
            ends = len(waiting) == left
            side = waiting[0] if ends else (bits & 255) % SIDES
            aside = (bits >> 8 & 255) % 10 >= 7
            if ends or aside and touched[side] and bits >> 16 & 1:
                self.commit(main, b"merge %s\n" % sides[side])
                for number in sorted(touched[side]):
                    self.put(FOLDERS - SIDES + side, number)
                touched[side] = None
            elif aside and len(waiting) + 1 < left:
                self.commit(sides[side], b"" if touched[side] else b"from %s\n" % main)
                touched[side] = (touched[side] or set()) | {self.change(FOLDERS - SIDES + side)}
            else:
                self.commit(main)
                self.change((bits & 255) % (FOLDERS - SIDES))
        self.out.write(b"done\n")


def main():
    directory = sys.argv[1]
    commits = int(sys.argv[2]) if len(sys.argv) > 2 else 80_000
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    shape = sys.argv[4] if len(sys.argv) > 4 else "deep"
    env = {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "HOME": "/nonexistent"}
    git = ["git", f"--git-dir={os.path.abspath(directory)}"]
    subprocess.run(git + ["init", "--quiet", "--bare", "--initial-branch=main"], check=True, env=env)
    lean = shape == "lean"
    # A quick import leaves what it wrote: chains of deltas are short, and few branches are forgotten and read again.
    quick = ["-c", "core.compression=1"] if lean else []
    options = ["--depth=10", f"--active-branches={2 * SIDES}"] if lean else []
    words = git + quick + ["fast-import", "--quiet", "--done", "--force"] + options
    importer = subprocess.Popen(words, stdin=subprocess.PIPE, env=env, bufsize=1 << 20)
    rng = random.Random(seed)
    history = Lean(importer.stdin, rng) if lean else History(importer.stdin, rng, SHAPES[shape])
    history.run(commits)
    importer.stdin.close()
    if importer.wait() != 0:
        sys.exit("fast-import failed")
    if not lean:
        subprocess.run(git + ["repack", "-adfq", "--window=10", "--depth=50"], check=True, env=env)


if __name__ == "__main__":
    main()
