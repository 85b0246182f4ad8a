"""Whether the simulation foretells what workers do here: PIXEL_LLM MODEL [ROUNDS]

Speeds of one worker with one thread are measured at 1, 4 and 8 slots. One worker, and two,
answer the same lines in blocks, two blocks at a time each; `simulate.py` says beforehand how long
that takes. One process with two threads answers them too, by turns. Leave the machine alone
meanwhile: the two workers take two processors.
"""

import argparse
import json
import os
import pathlib
import queue
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from pixel_llm_ray import Worker
from simulate import simulate

TOKENS, REQUESTS, BLOCK, SLOTS = 32, 160, 20, 8
program, model, *rest = sys.argv[1:]
rounds = int(rest[0]) if rest else 3
ONE_THREAD = {"RAYON_NUM_THREADS": "1"}
RUN = [program, "run", model, "--device", "cpu", "--context", "512"]
lines = [
    json.dumps({"id": f"r{at}", "prompt": f"Once there were {at}", "max_tokens": TOKENS,
                "ignore_eos": True, "seed": at})
    for at in range(REQUESTS)
]


def speed(slots, processor):
    """Tokens per second of one worker with one thread, with so many lines at once."""
    some = lines[: 4 * slots]
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "in.jsonl"
        source.write_text("\n".join(some))
        command = ["taskset", "-c", str(processor), program, "--json", *RUN[1:], "--parallel", str(slots), "--input", source,
                   "--output", pathlib.Path(folder) / "out.jsonl"]
        ran = subprocess.run(command, env={**os.environ, **ONE_THREAD}, capture_output=True,
                             check=True)
    summary = json.loads(ran.stdout)
    return summary["completion_tokens"] / summary["seconds"]


def workers(count, threads):
    """Seconds until all lines are answered by workers that take two blocks at a time."""
    env = {"RAYON_NUM_THREADS": str(threads)}
    # On processors of their own, as actors have them.
    pin = (lambda at: ["taskset", "-c", str(at)]) if threads == 1 else (lambda at: [])
    command = [*RUN, "--parallel", str(SLOTS)]
    all_workers = [Worker([*pin(at), *command], env) for at in range(count)]
    for worker in all_workers:
        worker.answer([json.dumps({"id": "first", "prompt": "A", "max_tokens": 1})])
    blocks = queue.SimpleQueue()
    for at in range(0, REQUESTS, BLOCK):
        blocks.put(lines[at : at + BLOCK])
    answered = []

    def take(worker):
        while True:
            try:
                block = blocks.get_nowait()
            except queue.Empty:
                return
            answered.extend(worker.answer(block))

    before, since = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    threads = [threading.Thread(target=take, args=(worker,)) for worker in all_workers * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - since
    for worker in all_workers:
        worker.close()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert len(answered) == REQUESTS
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measured_speeds():
    """Of one worker, on each of two processors: one is not as fast as the other."""
    both = lambda slots: statistics.mean(speed(slots, at) for at in (0, 1))
    return [(slots, both(slots)) for slots in (1, 4, 8)]


def foretold(speeds, count):
    options = argparse.Namespace(
        requests=REQUESTS, tokens=TOKENS, spread=False, slots=SLOTS, speeds=speeds, block=BLOCK,
        overlap=2, start=0, boot=0, hand=0.001, death_hours=0, seed=1, workers=count)
    return simulate(options)[0]


runs = {"1 worker of 1 thread": (1, 1), "2 workers of 1 thread": (2, 1),
        "1 process of 2 threads": (1, 2)}
took, told = {name: [] for name in runs}, {name: [] for name in runs}
for _ in range(rounds):
    # In each round anew, before and after: a machine is not as fast in every minute.
    before = measured_speeds()
    for name, (count, threads) in runs.items():
        took[name].append(workers(count, threads))
    speeds = [(slots, (a + b) / 2) for (slots, a), (_, b) in zip(before, measured_speeds())]
    print("one worker, one thread, tok/s:", ", ".join(f"{n} at once {v:.0f}" for n, v in speeds))
    for name, (count, threads) in runs.items():
        told[name].append(foretold(speeds, count) / took[name][-1][0])
middle = {}
for name, (count, threads) in runs.items():
    seconds, busy = map(statistics.median, zip(*took[name]))
    middle[name] = (seconds, busy)
    ratio = f", foretold {statistics.median(told[name]):.2f} of it"
    print(f"{name}: {seconds:.2f} s, {REQUESTS * TOKENS / seconds:.0f} tok/s, {busy:.2f} s of "
          f"processors{ratio if threads == 1 else ''}")
(two, two_busy), (one, one_busy) = (middle[name] for name in list(runs)[1:])
print(f"two workers beside one process: {one / two:.2f} of its tokens per second, "
      f"{two_busy / one_busy:.2f} of its processor time")
