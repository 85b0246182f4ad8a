"""A worker whose process is killed again and again, without Ray: PROGRAM. Exits 0 if all holds."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from pixel_llm_ray import Worker, answered, merge, write_part

program = sys.argv[1]
command = [program, "run", "--device", "cpu"]
lines = [
    json.dumps({"id": f"r{at}", "prompt": f"Once {at}", "max_tokens": 9, "seed": at, "logprobs": 1})
    for at in range(300)
]


def choices(results):
    parsed = [json.loads(line) for line in results]
    return {row["custom_id"]: row["response"]["body"]["choices"] for row in parsed}


reference = subprocess.run(
    command + ["--input", "-", "--output", "-", "--quiet"],
    input="\n".join(lines), capture_output=True, text=True, check=True,
).stdout.splitlines()
reference = choices(reference)
assert len(reference) == len(lines)

# Two blocks at a time, and the process is killed three times in the middle.
worker = Worker(command)
blocks = [lines[at : at + 50] for at in range(0, len(lines), 50)]
results = {}
kills = []


def answer(which):
    for at in range(which, len(blocks), 2):
        results[at] = worker.answer(blocks[at])


def kill():
    # Each time once something was answered since: no line is in three deaths.
    for share in (0.2, 0.5, 0.8):
        while sum(map(len, results.values())) < share * len(lines):
            time.sleep(0.002)
        child = worker.child
        if child is not None:
            os.kill(child.pid, signal.SIGKILL)
            kills.append(child.pid)


threads = [threading.Thread(target=answer, args=(which,)) for which in (0, 1)]
threads.append(threading.Thread(target=kill))
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
worker.close()
assert len(kills) == 3 and worker.starts == 4, (kills, worker.starts)
flat = [line for at in sorted(results) for line in results[at]]
ids = [json.loads(line)["id"] for line in lines]
assert [json.loads(line)["custom_id"] for line in flat] == ids
assert choices(flat) == reference, "choices differ from those of one process"

# A line that ends every process it comes to has an error; the others have their answers.
shim = r"""
import subprocess, sys, threading
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, text=True)
for line in sys.stdin:
    if '"poison"' in line:
        child.kill()
        sys.exit(137)
    child.stdin.write(line)
    child.stdin.flush()
child.stdin.close()
sys.exit(child.wait())
"""
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "shim.py"
    path.write_text(shim)
    worker = Worker([sys.executable, str(path), *command])
    block = lines[:5] + ['{"id": "poison", "prompt": "x"}', "no JSON"] + lines[5:10]
    rows = [json.loads(line) for line in worker.answer(block)]
    worker.close()
    codes = [row["error"]["code"] for row in rows if row["error"]]
    assert codes == ["worker_died", "invalid_request"], codes
    good = {row["custom_id"]: row["response"]["body"]["choices"] for row in rows if row["response"]}
    assert good == {f"r{at}": reference[f"r{at}"] for at in range(10)}, "others were harmed"

    # Parts are whole, the same when written again, and merged without an id twice.
    out = pathlib.Path(folder) / "out"
    out.mkdir()
    write_part(out, flat[:100])
    write_part(out, flat[100:])
    write_part(out, flat[:100])
    assert len(list(out.iterdir())) == 2 and len(answered(out)) == 300
    assert merge(out, pathlib.Path(folder) / "all.jsonl") == 300
print(f"3 kills, {len(reference)} lines answered as by one process; a poisoned one has an error")
