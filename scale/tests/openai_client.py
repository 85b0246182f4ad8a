"""Python's openai client against a running server: URL MODEL. Exits 0 where everything holds.

The server has one slot and a queue of one.
"""

import sys
import threading

import openai

url, model = sys.argv[1:3]
client = openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0)
messages = [{"role": "user", "content": "Who are you?"}]

# A chat, whole and streamed, are the same text.
whole = client.chat.completions.create(model=model, messages=messages, temperature=0)
text = whole.choices[0].message.content
assert "Seedling" in text, whole
assert whole.usage.completion_tokens > 0 and whole.object == "chat.completion"

stream = client.chat.completions.create(
    model=model,
    messages=messages,
    temperature=0,
    stream=True,
    stream_options={"include_usage": True},
)
pieces, usage, finish = [], None, None
for chunk in stream:
    assert chunk.object == "chat.completion.chunk", chunk
    if chunk.usage is not None:
        assert chunk.choices == []
        usage = chunk.usage
    for choice in chunk.choices:
        pieces.append(choice.delta.content or "")
        finish = choice.finish_reason or finish
assert "".join(pieces) == text, pieces
assert usage.total_tokens == whole.usage.total_tokens, usage
assert finish == whole.choices[0].finish_reason

# Completions: several choices, log-probabilities.
several = client.completions.create(
    model=model, prompt=["Once upon", "The"], n=2, max_tokens=5, logprobs=2, seed=1
)
assert [choice.index for choice in several.choices] == [0, 1, 2, 3]
assert len(several.choices[0].logprobs.tokens) == 5, several.choices[0]

# Models.
assert [entry.id for entry in client.models.list()] == [model]
assert client.models.retrieve(model).id == model

# Errors as the client's own exceptions.
def refused(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"expected {kind.__name__}")

error = refused(
    openai.BadRequestError,
    lambda: client.completions.create(model=model, prompt="word " * 2000),
)
assert error.code == "context_length_exceeded", error
refused(openai.NotFoundError, lambda: client.completions.create(model="gpt-4", prompt="x"))
refused(openai.NotFoundError, lambda: client.models.retrieve("gpt-4"))

# One runs, one waits, and the others are told to come again.
def long():
    client.completions.create(
        model=model, prompt="x", max_tokens=400, n=8, extra_body={"ignore_eos": True}
    )

outcomes = []
def ask():
    try:
        long()
        outcomes.append("answered")
    except openai.RateLimitError as error:
        assert error.code == "queue_full", error
        outcomes.append("refused")

threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(outcomes) == 8 and outcomes.count("refused") >= 1, outcomes
assert outcomes.count("answered") >= 2, outcomes
print(f"openai {openai.__version__}: chat, stream, completions, models, errors; {outcomes}")
