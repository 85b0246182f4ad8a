"""lm-evaluation-harness, unmodified, against a running server: URL MODEL. Exits 0 where all holds.

Twenty items of multiple choice are scored through `local-completions`, with no tokenizer but the
server's, and once more through lines of batch mode, which has to give the same log-likelihoods.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

import lm_eval
from lm_eval.models.openai_completions import LocalCompletionsAPI
from lm_eval.api.instance import Instance

url, model, program, *arguments = sys.argv[1:]
items = json.loads((pathlib.Path(__file__).parent / "items.json").read_text())

lm = LocalCompletionsAPI(
    base_url=url + "/v1/completions", model=model, tokenizer_backend="remote",
    num_concurrent=4, max_length=1024, batch_size=4, timeout=300,
)
pairs = [(item["question"], " " + choice) for item in items for choice in item["choices"]]
requests = [
    Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=at)
    for at, pair in enumerate(pairs)
]
served = [score for score, _ in lm.loglikelihood(requests)]


def tokens(text):
    body = json.dumps({"prompt": text, "add_special_tokens": False}).encode()
    request = urllib.request.Request(url + "/tokenize", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        return json.load(response)["tokens"]


# The same pairs as lines of batch mode.
lines, begins = [], []
for at, (context, continuation) in enumerate(pairs):
    begins.append(len(tokens(context)))
    ids = tokens(context + continuation)
    lines.append(json.dumps({"id": at, "prompt": ids, "prompt_logprobs": 0, "max_tokens": 0}))
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "in.jsonl"
    path.write_text("\n".join(lines))
    command = [program, "run", *arguments, "--device", "cpu", "--quiet", "--input", str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
batch = [0.0] * len(pairs)
for line in ran.stdout.splitlines():
    row = json.loads(line)
    at = int(row["custom_id"])
    scores = row["response"]["body"]["choices"][0]["prompt_logprobs"]
    batch[at] = sum(entry["logprob"] for entry in scores[begins[at] :])


def accuracy(scores):
    right, at = 0, 0
    for item in items:
        of_item = scores[at : at + len(item["choices"])]
        right += of_item.index(max(of_item)) == item["answer"]
        at += len(item["choices"])
    return right / len(items)


furthest = max(abs(a - b) for a, b in zip(served, batch))
assert furthest < 1e-4, (furthest, served[:4], batch[:4])
assert accuracy(served) == accuracy(batch)
told = f"{len(pairs)} pairs, accuracy {accuracy(served):.2f} both ways"
print(f"lm_eval {lm_eval.__version__}: {told}, furthest apart {furthest:.1e} nats")
