"""What HTTP costs: requests by 8 clients of a server against the same file in batch mode, in turn.

    python3 benches/serve.py target/release/pixel-llm MODEL [REQUESTS]

Both have 8 slots of 2048 positions. The ratio counts: the clients take their share of the machine.
"""

import http.client
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
from urllib.parse import urlparse

program, model, *rest = sys.argv[1:]
count = int(rest[0]) if rest else 200
device = ["--device", "cpu", "--context", "2048", "--parallel", "8"]


def body(index):
    prompt = f"Write a story about number {index}."
    return {"prompt": prompt, "max_tokens": 32, "seed": index, "ignore_eos": True}


def over_http(address):
    """Tokens per second of 8 clients, each with one request at a time."""
    waiting, lock, tokens = list(range(count)), threading.Lock(), []

    def client():
        connection = http.client.HTTPConnection(address)
        while True:
            with lock:
                if not waiting:
                    return
                index = waiting.pop()
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/v1/completions", json.dumps(body(index)), headers)
            tokens.append(json.load(connection.getresponse())["usage"]["completion_tokens"])

    since = time.monotonic()
    clients = [threading.Thread(target=client) for _ in range(8)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    return sum(tokens) / (time.monotonic() - since)


def of_file(folder):
    source, output = folder / "in.jsonl", folder / "out.jsonl"
    lines = (json.dumps({"id": index, **body(index)}) for index in range(count))
    source.write_text("\n".join(lines))
    files = ["--input", source, "--output", output, "--overwrite"]
    command = [program, "--json", "run", model, *device, *files]
    summary = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return summary["completion_tokens"] / summary["seconds"]


command = [program, "--json", "serve", model, *device, "--port", "0"]
server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
ready = ""
while not ready.endswith("}\n"):
    ready += server.stdout.readline()
try:
    with tempfile.TemporaryDirectory() as folder:
        address = urlparse(json.loads(ready)["url"]).netloc
        over_http(address)
        for _ in range(3):
            served, alone = over_http(address), of_file(pathlib.Path(folder))
            print(f"HTTP {served:.1f} tokens/s, file {alone:.1f}, ratio {served / alone:.2f}")
finally:
    server.terminate()
    server.wait()
