"""Two Ray actors, one killed in the middle, then the driver killed and started again: PROGRAM.

Exits 0 where every id has one result, with the choices of one process. Also Ray Data's own HTTP
processor against a server, where URL and MODEL follow.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

here = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(here.parent))
from pixel_llm_ray import answered, merge

program = sys.argv[1]
COUNT = 2000


def choices(lines):
    rows = [json.loads(line) for line in lines]
    return {row["custom_id"]: row["response"]["body"]["choices"] for row in rows}


def children(pid):
    listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True).stdout
    return [line.split(None, 2) for line in listed.splitlines()[1:]]


def mine(folder):
    """Processes of the workers of this test."""
    return [int(pid) for pid, _, args in children(0) if "--follow" in args and folder in args]


def parts(out):
    return len(list(out.glob("part-*.jsonl"))) if out.is_dir() else 0


with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    lines = [
        json.dumps({"id": f"r{at}", "prompt": f"Once {at}", "max_tokens": 8, "seed": at})
        for at in range(COUNT)
    ]
    source = folder / "in.jsonl"
    source.write_text("\n".join(lines) + "\n")
    since = time.time()
    one = subprocess.run(
        [program, "run", "--device", "cpu", "--quiet", "--input", str(source)],
        capture_output=True, text=True, check=True,
    )
    alone = time.time() - since
    reference = choices(one.stdout.splitlines())

    # A name of its own, by which its processes are found.
    own = folder / "pixel-llm"
    own.symlink_to(program)
    out = folder / "out"
    merged = folder / "all.jsonl"
    command = [
        sys.executable, str(here.parent / "pixel_llm_ray.py"), str(source), str(out),
        "--program", str(own), "--actors", "2", "--threads", "1", "--cpus", "0.5", "--block", "50",
        "--merge", str(merged), "--run", "--device", "cpu",
    ]
    log = open(folder / "log", "w")
    since = time.time()
    driver = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    while parts(out) < 6:
        assert driver.poll() is None, (folder / "log").read_text()
        time.sleep(0.05)
    killed = mine(str(own))[:1]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    while parts(out) < 14:
        assert driver.poll() is None, (folder / "log").read_text()
        time.sleep(0.05)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    before = len(answered(out))
    assert 0 < before < COUNT, before
    again = subprocess.run(command, stdout=log, stderr=log, check=False)
    took = time.time() - since
    assert again.returncode == 0, (folder / "log").read_text()
    assert merge(out, merged) == COUNT
    results = merged.read_text().splitlines()
    assert len(results) == COUNT and choices(results) == reference
    assert killed, "no process of a worker was found to kill"
    print(
        f"{COUNT} lines, a worker and the driver killed ({before} answered by then): each id once, "
        f"choices as of one process; {took:.0f} s beside {alone:.0f} s alone"
    )

if len(sys.argv) > 3:
    import ray
    from ray.data.llm import HttpRequestProcessorConfig, build_processor

    url, model = sys.argv[2:4]
    config = HttpRequestProcessorConfig(url=url + "/v1/completions", concurrency=4, batch_size=8)
    processor = build_processor(
        config,
        preprocess=lambda row: {
            "payload": {"model": model, "prompt": f"Once {row['id']}", "max_tokens": 4, "seed": 1}
        },
        postprocess=lambda row: {"text": row["http_response"]["choices"][0]["text"]},
    )
    rows = processor(ray.data.range(40)).take_all()
    assert len(rows) == 40 and all(row["text"] for row in rows), rows[:3]
    print(f"ray {ray.__version__}: 40 rows by its HTTP processor")
