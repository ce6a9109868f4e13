#!/usr/bin/env python3
"""Cuts the power at many moments of a run, and looks whether anything that was acknowledged is gone.

A run is traced with strace; the acknowledgements are in the same trace as the writes. The trace is
replayed: what fsync confirmed is durable, everything else is pending and may or may not be on disk.
At many points a disk is built from the durable part and a choice of the pending part, opened, checked,
and compared with what had been acknowledged by then.

    power_cut.py queue --folder STATE --socket SOCKET --frames DIR -- agent daemon run
    power_cut.py spool --folder SPOOL -- sh hooks.sh

Two kinds of disk are played: `strict`, where a name is durable only after its directory was synced,
and `ordered`, where syncing any file confirms all names before it, as ext4 does.
Prints one line of JSON; the exit status is 0 whatever was found.
"""

import argparse, glob, json, os, random, re, shutil, socket, sqlite3, struct, subprocess, sys, tempfile, threading, time
import uuid

CALLS = "openat,pwrite64,write,sendto,read,recvfrom,accept4,close,fsync,fdatasync,ftruncate,unlink,rename,renameat,renameat2"
LINE = re.compile(r"(?:(\d+)\s+)?(\w+)\((.*)\)\s+=\s+(-?\d+)", re.S)
TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
PLACE = re.compile(r"(-?\w+)<((?:\\x[0-9a-f]{2}|[^>])*)>")
MAGIC = b"gjaF"


def plain(text):
    return bytes.fromhex(text.replace("\\x", "")) if text.startswith("\\x") else text.encode()


class File:
    def __init__(self):
        self.durable, self.pending, self.offset = bytearray(), [], 0

    def content(self, kept):
        data = bytearray(self.durable)
        for kind, at, what in kept:
            if kind == "cut":
                del data[at:]
                data.extend(bytes(at - len(data)))
            else:
                data.extend(bytes(max(0, at - len(data))))
                data[at : at + len(what)] = what
        return bytes(data)


class Disk:
    """The files below one folder, as names and contents that are durable, and changes that are pending."""

    def __init__(self, folder, ordered):
        self.folder, self.ordered = folder, ordered
        self.names, self.durable, self.changes = {}, {}, []

    def rename(self, old, new):
        file = self.names.pop(old, None)
        if file and new:
            self.names[new] = file
        self.changes.append((old, new, file))

    def create(self, path):
        if path not in self.names:
            self.names[path] = File()
            self.changes.append((None, path, self.names[path]))

    @staticmethod
    def apply(names, changes):
        for old, new, file in changes:
            names.pop(old, None)
            if new and file:
                names[new] = file

    def confirm(self, here):
        self.apply(self.durable, [change for change in self.changes if here(change)])
        self.changes = [change for change in self.changes if not here(change)]

    def sync(self, path, covered):
        file = self.names.get(path)
        if file:
            file.durable, file.pending = bytearray(file.content(file.pending[:covered])), file.pending[covered:]
            if self.ordered:
                self.confirm(lambda change: True)
        else:
            self.confirm(lambda change: os.path.dirname(change[1] or change[0]) == path)

    def states(self, chance):
        """Contents by name, for some of the ways in which the power may go out now."""
        def built(names, keep):
            return {os.path.relpath(path, self.folder): file.content(keep(file.pending)) for path, file in names.items()}

        def some(items):
            return [item for item in items if chance.random() < 0.5]

        def torn(pending):
            whole = [change for change in pending]
            if whole and whole[-1][0] == "put" and len(whole[-1][2]) > 512:
                kind, at, what = whole[-1]
                whole[-1] = (kind, at, what[: 512 * chance.randrange(1, (len(what) + 511) // 512)])
            return whole

        yield built(self.durable, lambda pending: [])
        yield built(self.names, lambda pending: pending)
        yield built(self.names, torn)
        for _ in range(2):
            names = dict(self.durable)
            kept = self.changes[: chance.randint(0, len(self.changes))] if self.ordered else some(self.changes)
            self.apply(names, kept)
            yield built(names, some)


def lines(path):
    """Whole calls in the order of their beginning, each with the number of its line and of its end."""
    open_calls, calls = {}, []
    for number, line in enumerate(open(path, encoding="latin-1")):
        pid, rest = line.rstrip("\n").split(" ", 1)
        rest = rest.lstrip()
        if rest.endswith("<unfinished ...>"):
            open_calls[pid] = (number, rest.removesuffix("<unfinished ...>").rstrip())
        elif rest.startswith("<... "):
            begun, head = open_calls.pop(pid, (number, ""))
            calls.append((begun, number, pid, head + rest.split("resumed>", 1)[1]))
        else:
            calls.append((number, number, pid, rest))
    steps = []
    for begun, ended, pid, text in calls:
        match = LINE.match(text)
        if match and int(match[4]) >= 0:
            _, name, arguments, result = match.groups()
            steps.append((begun, 0, name, arguments, int(result)))
            steps.append((ended, 1, name, arguments, int(result)))
    return sorted(steps, key=lambda step: step[:2])


def replay(trace, mode, folder, ids, check, points, seed):
    disks = [Disk(folder, ordered) for ordered in (False, True)]
    chance, acked, last, heard, covered = random.Random(seed), set(), None, {}, {}
    steps = lines(trace)
    changing = {"pwrite64", "write", "sendto", "fsync", "fdatasync", "ftruncate", "unlink", "rename", "renameat", "renameat2"}
    moments = [n for n, step in enumerate(steps) if step[2] in changing]
    moments = set(chance.sample(moments, min(points, len(moments))))
    found = {"states": 0, "lost": 0, "damaged": 0, "acknowledged": 0, "examples": []}
    for number, (line, ending, name, arguments, result) in enumerate(steps):
        place = PLACE.match(arguments)
        path = plain(place[2]).decode(errors="replace") if place else ""
        texts = [plain(text) for text in TEXT.findall(arguments)]
        for disk in disks:
            inside = path.startswith(folder)
            if name == "openat" and ending and "O_CREAT" in arguments:
                made = os.path.normpath(os.path.join(path, texts[0].decode(errors="replace")))
                if made.startswith(folder + "/"):
                    disk.create(made)
            elif name in ("rename", "renameat", "renameat2", "unlink") and not ending and texts[0].decode().startswith(folder):
                disk.rename(texts[0].decode(), texts[1].decode() if len(texts) > 1 else None)
                last = texts[-1].decode()
            elif name in ("pwrite64", "write") and inside and path in disk.names and not ending:
                file = disk.names[path]
                at = int(arguments.rsplit(",", 1)[1]) if name == "pwrite64" else file.offset
                file.pending.append(("put", at, texts[-1]))
                file.offset = at + len(texts[-1])
            elif name == "ftruncate" and inside and path in disk.names and not ending:
                disk.names[path].pending.append(("cut", int(arguments.rsplit(",", 1)[1]), b""))
                disk.names[path].offset = min(disk.names[path].offset, int(arguments.rsplit(",", 1)[1]))
            elif name in ("fsync", "fdatasync") and inside:
                key = (id(disk), path)
                if ending:
                    disk.sync(path, covered.get(key, 0))
                elif path in disk.names:
                    covered[key] = len(disk.names[path].pending)
        fd = place and place[1]
        if mode == "spool" and name == "write" and not ending and texts and b"kept for Jira" in texts[-1]:
            acked.add(os.path.relpath(last, folder))
        if mode == "queue" and name == "accept4" and ending:
            heard[str(result)] = b""
        if mode == "queue" and name in ("read", "recvfrom") and ending and fd in heard and texts:
            heard[fd] += texts[0]
        if mode == "queue" and name in ("write", "sendto") and not ending and fd in heard and texts and texts[-1].startswith(MAGIC):
            acked.update(one for one in ids if uuid.UUID(one).bytes in heard[fd])
            heard[fd] = b""
        if number in moments:
            for disk in disks:
                for state in disk.states(chance):
                    missing, damage = check(state, acked)
                    found["states"] += 1
                    found["lost"] += bool(missing)
                    found["damaged"] += bool(damage)
                    if (missing or damage) and len(found["examples"]) < 3:
                        kind = "ordered" if disk.ordered else "strict"
                        found["examples"].append(f"line {line}, {kind}: missing {sorted(missing)[:3]} {damage or ''}")
    found["acknowledged"] = len(acked)
    return found


def check_queue(state, acked):
    where = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    try:
        for name, content in state.items():
            if name.startswith("queue.db"):
                open(os.path.join(where, name), "wb").write(content)
        try:
            store = sqlite3.connect(os.path.join(where, "queue.db"))
            verdict = store.execute("PRAGMA integrity_check(1)").fetchone()[0]
            tables = {row[0] for row in store.execute("SELECT name FROM sqlite_master")}
            there = {row[0] for row in store.execute("SELECT event_id FROM event")} if "event" in tables else set()
            store.close()
        except sqlite3.DatabaseError as error:
            return set(acked), str(error)
        return acked - there, "" if verdict == "ok" else verdict
    finally:
        shutil.rmtree(where)


def check_spool(final, state, acked):
    return {name for name in acked if state.get(name) != final[name]}, ""


def trace(command, to):
    return subprocess.Popen(["strace", "-f", "-y", "-xx", "-s", "2000000", "-o", to, "-e", "trace=" + CALLS, *command])


def give(address, frame):
    with socket.socket(socket.AF_UNIX) as end:
        end.connect(address)
        end.sendall(frame)
        head = end.recv(16, socket.MSG_WAITALL)
        end.recv(struct.unpack(">I", head[8:12])[0], socket.MSG_WAITALL)


def run_queue(options, to):
    frames = [open(path, "rb").read() for path in sorted(glob.glob(options.frames + "/*.event"))]
    daemon = trace(options.command, to)
    for _ in range(600):
        try:
            with socket.socket(socket.AF_UNIX) as end:
                end.connect(options.socket)
            break
        except OSError:
            time.sleep(0.05)
    senders = [threading.Thread(target=lambda part=part: [give(options.socket, frame) for frame in part])
               for part in (frames[n::3] for n in range(3))]
    [sender.start() for sender in senders]
    [sender.join() for sender in senders]
    os.kill(int(open(os.path.join(options.folder, "lock")).read()), 15)
    daemon.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["queue", "spool"])
    parser.add_argument("--folder", required=True)
    parser.add_argument("--socket")
    parser.add_argument("--frames")
    parser.add_argument("--points", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    options.folder = os.path.realpath(options.folder)
    with tempfile.TemporaryDirectory() as scratch:
        to = os.path.join(scratch, "trace")
        ids, check = [], check_queue
        if options.mode == "queue":
            ids = [os.path.basename(path).removesuffix(".event") for path in glob.glob(options.frames + "/*.event")]
            run_queue(options, to)
        else:
            trace(options.command, to).wait()
            final = {os.path.relpath(path, options.folder): open(path, "rb").read()
                     for path in glob.glob(options.folder + "/**/*.event", recursive=True)}
            check = lambda state, acked: check_spool(final, state, acked)
        found = replay(to, options.mode, options.folder, ids, check, options.points, options.seed)
    print(json.dumps(found))


if __name__ == "__main__":
    sys.exit(main())
