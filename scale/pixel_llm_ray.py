"""Answers files of requests on many machines with Ray Data, each id exactly once.

    python pixel_llm_ray.py requests.jsonl results --model model.gguf --actors 16 --threads 8

Lines are those of `pixel-llm run --input` (specs/requests.md). `results` is a folder that every
machine reaches; each block of lines becomes one file in it, whole or not at all. Started again over
the same folder, it leaves out what is answered. `--merge FILE` puts the files together at the end.

Each actor keeps one `pixel-llm run --follow` alive, so that a model is opened once, and has two
blocks in it at a time, so that its slots do not empty at the end of each. A process that dies is
started again and its lines are asked again; a line that ends two processes is asked alone, and has
an error as its result where it ends a third.
"""

import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import threading
import uuid

DEATHS = 2


def id_of(line):
    """The id of a line, or None where it has none."""
    try:
        request = json.loads(line)
        found = request.get("custom_id", request.get("id"))
    except (ValueError, AttributeError):
        return None
    return str(found) if isinstance(found, (str, int)) and found != "" else None


def error_row(custom_id, code, message):
    error = {"code": code, "message": message, "param": None}
    row = {"id": f"batch_req_{custom_id}", "custom_id": custom_id, "response": None, "error": error}
    return json.dumps(row)


class Pending:
    """A line that waits for its result."""

    def __init__(self, line):
        self.line, self.result, self.deaths = line, None, 0
        self.done = threading.Event()

    def finish(self, result):
        self.result = result
        self.done.set()


class Worker:
    """One living `pixel-llm run --follow`. Blocks may be answered by several threads at once."""

    def __init__(self, command, env=None):
        self.command = list(command)
        self.env = {**os.environ, **(env or {})}
        self.lock = threading.Lock()
        self.pending = {}
        self.child = None
        self.starts = 0

    def answer(self, lines):
        """The result lines of some lines, in their order."""
        mine = []
        for line in lines:
            custom_id = id_of(line)
            entry = Pending(line)
            if custom_id is None:
                entry.finish(error_row(None, "invalid_request", "the line has no id"))
            else:
                with self.lock:
                    if custom_id in self.pending:
                        entry.finish(error_row(custom_id, "invalid_request", "an id comes twice"))
                    else:
                        self.pending[custom_id] = entry
                        self.write(entry)
            mine.append(entry)
        for entry in mine:
            entry.done.wait()
        return [entry.result for entry in mine]

    def write(self, entry):
        """Sends a line to the child, which is started where there is none. Holds the lock."""
        if self.child is None:
            self.start()
        try:
            self.child.stdin.write(entry.line.rstrip("\n") + "\n")
            self.child.stdin.flush()
        except OSError:
            pass  # It has died; whoever reads its results asks again.

    def start(self):
        self.starts += 1
        follow = ["--input", "-", "--output", "-", "--follow", "--quiet"]
        self.child = subprocess.Popen(
            self.command + follow, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self.env,
            text=True, encoding="utf-8",
        )
        threading.Thread(target=self.read, args=(self.child,), daemon=True).start()

    def read(self, child):
        for line in child.stdout:
            if not line.endswith("\n"):
                break  # Torn by a death.
            with self.lock:
                entry = self.pending.pop(json.loads(line)["custom_id"], None)
            if entry is not None:
                entry.finish(line.rstrip("\n"))
        code = child.wait()
        self.died(child, code)

    def died(self, child, code):
        with self.lock:
            if self.child is not child:
                return
            self.child = None
            suspects = []
            for custom_id, entry in list(self.pending.items()):
                entry.deaths += 1
                if entry.deaths >= DEATHS:
                    suspects.append((custom_id, self.pending.pop(custom_id)))
            for entry in self.pending.values():
                self.write(entry)
        for custom_id, entry in suspects:
            entry.finish(self.alone(custom_id, entry.line, code))

    def alone(self, custom_id, line, code):
        """The result of a line in a process of its own."""
        command = self.command + ["--input", "-", "--output", "-", "--skip-bad", "--quiet"]
        ran = subprocess.run(
            command, input=line + "\n", stdout=subprocess.PIPE, env=self.env, text=True,
            encoding="utf-8", check=False,
        )
        results = ran.stdout.splitlines()
        if results:
            return results[0]
        message = f"the line ends the process that answers it (codes {code} and {ran.returncode})"
        return error_row(custom_id, "worker_died", message)

    def close(self):
        with self.lock:
            child, self.child = self.child, None
        if child is not None:
            child.stdin.close()
            child.wait()


def write_part(folder, lines):
    """Writes results as a file of the folder. Written twice, it is the same file."""
    ids = "\n".join(sorted(str(json.loads(line)["custom_id"]) for line in lines))
    name = f"part-{hashlib.sha256(ids.encode()).hexdigest()[:24]}.jsonl"
    folder = pathlib.Path(folder)
    draft = folder / f".{name}.{uuid.uuid4().hex}"
    with open(draft, "w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, folder / name)


def answered(folder):
    """The ids that a folder has results of."""
    ids = set()
    for part in sorted(pathlib.Path(folder).glob("part-*.jsonl")):
        with open(part, encoding="utf-8") as file:
            ids.update(json.loads(line)["custom_id"] for line in file)
    return ids


def merge(folder, path):
    """Puts the parts together; an id that comes twice is an error."""
    seen = set()
    with open(path, "w", encoding="utf-8") as out:
        for part in sorted(pathlib.Path(folder).glob("part-*.jsonl")):
            with open(part, encoding="utf-8") as file:
                for line in file:
                    custom_id = json.loads(line)["custom_id"]
                    if custom_id is not None and custom_id in seen:
                        raise SystemExit(f"{part}: the id {custom_id} comes twice")
                    seen.add(custom_id)
                    out.write(line)
    return len(seen)


class Actor:
    """What Ray keeps alive on a machine."""

    def __init__(self, command, env, folder):
        self.worker, self.folder = Worker(command, env), folder

    def __call__(self, batch):
        lines = self.worker.answer(list(batch["text"]))
        write_part(self.folder, lines)
        failed = sum(json.loads(line)["response"] is None for line in lines)
        return {"answered": [len(lines)], "failed": [failed]}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", nargs="+", help="files of requests, one JSON object a line")
    parser.add_argument("output", help="the folder of results, which all machines reach")
    parser.add_argument("--model", help="a model's file, at this path on every machine")
    parser.add_argument("--program", default="pixel-llm")
    parser.add_argument("--actors", type=int, default=1, help="one per GPU, or per NUMA node")
    parser.add_argument("--threads", type=int, help="processor threads of each actor")
    parser.add_argument("--cpus", type=float, help="what Ray reserves for an actor [threads x 0.9]")
    parser.add_argument("--gpus", type=float, default=0)
    parser.add_argument("--block", type=int, default=100, help="lines of a block")
    parser.add_argument("--merge", metavar="FILE", help="put the results together at the end")
    parser.add_argument("--run", nargs=argparse.REMAINDER, default=[], help="more options of `run`")
    return parser.parse_args()


def main():
    import ray

    args = arguments()
    pathlib.Path(args.output).mkdir(parents=True, exist_ok=True)
    done = answered(args.output)
    command = [args.program, "run", *([args.model] if args.model else []), *args.run]
    threads = args.threads or 1
    env = {"RAYON_NUM_THREADS": str(threads)}
    # Reading wants a processor too: where actors reserve all, the job stands still.
    cpus = args.cpus if args.cpus is not None else threads * 0.9

    def is_open(row):
        return row["text"].strip() != "" and id_of(row["text"]) not in done

    rows = ray.data.read_text(args.input).filter(is_open)
    counts = rows.map_batches(
        Actor,
        fn_constructor_args=(command, env, os.path.abspath(args.output)),
        batch_size=args.block,
        batch_format="numpy",
        concurrency=args.actors,
        num_cpus=cpus,
        num_gpus=args.gpus,
        max_concurrency=2,
    )
    total, failed = 0, 0
    for row in counts.iter_rows():
        total, failed = total + int(row["answered"]), failed + int(row["failed"])
    told = f"{total} answered, {failed} of them with an error, {len(done)} were there"
    print(told, file=sys.stderr)
    if args.merge:
        print(f"{merge(args.output, args.merge)} results in {args.merge}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
