"""What HTTP costs: requests by 8 clients of a server against the same file in batch mode, in turn.

    python3 benches/serve.py target/release/pixel-llm MODEL [REQUESTS] [ROUNDS]

Both have 8 slots of 2048 positions. The ratio counts: the clients take their share of the machine.
"""

import json
import pathlib
import re
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from urllib.parse import urlparse

program, model, *rest = sys.argv[1:]
count = int(rest[0]) if rest else 200
rounds = int(rest[1]) if len(rest) > 1 else 5
device = ["--device", "cpu", "--context", "2048", "--parallel", "8"]


def body(index):
    prompt = f"Write a story about number {index}."
    return {"prompt": prompt, "max_tokens": 32, "seed": index, "ignore_eos": True}


class Client:
    """A connection with one request at a time."""

    def __init__(self, address, asks):
        host, port = address.split(":")
        self.socket, self.asks, self.bytes = socket.create_connection((host, int(port))), asks, b""
        self.ask()

    def ask(self):
        self.bytes, self.is_busy = b"", bool(self.asks)
        if self.is_busy:
            self.socket.sendall(self.asks.pop())

    def read(self):
        """An answer, where it is whole; then the next is asked for at once."""
        self.bytes += self.socket.recv(1 << 16)
        head, _, rest = self.bytes.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        if not length or len(rest) < int(length[1]):
            return None
        self.ask()
        return rest


def over_http(address):
    """Tokens per second of 8 clients, each with one request at a time."""
    # What is sent is made before, and what comes is read after: Python's share is small.
    asks = []
    for index in range(count):
        sent = json.dumps(body(index)).encode()
        head = (f"POST /v1/completions HTTP/1.1\r\nHost: {address}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\n\r\n")
        asks.append(head.encode() + sent)
    answers, ready = [], selectors.DefaultSelector()
    since = time.monotonic()
    clients = [Client(address, asks) for _ in range(8)]
    for client in clients:
        ready.register(client.socket, selectors.EVENT_READ, client)
    while any(client.is_busy for client in clients):
        for key, _ in ready.select():
            answer = key.data.read()
            if answer:
                answers.append(answer)
    seconds = time.monotonic() - since
    for client in clients:
        client.socket.close()
    tokens = sum(json.loads(answer)["usage"]["completion_tokens"] for answer in answers)
    return tokens / seconds


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
        ratios = []
        for _ in range(rounds):
            served, alone = over_http(address), of_file(pathlib.Path(folder))
            ratios.append(served / alone)
            print(f"HTTP {served:.1f} tokens/s, file {alone:.1f}, ratio {ratios[-1]:.3f}")
        print(f"median of {rounds}: {statistics.median(ratios):.3f}")
finally:
    server.terminate()
    server.wait()
