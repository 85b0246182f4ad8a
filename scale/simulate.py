"""How long a batch takes on many workers, from speeds measured on one.

    python simulate.py --requests 2000000 --workers 1000 --speeds 1:90,4:160,8:210

A worker answers up to `slots` requests at once, together as fast as `--speeds` says (tokens per
second by how many run; between two counts on the straight line). It takes a block at a time, or two
with `--overlap 2`. It may die: then what it had in work is asked again. What is told: the share of
the ideal, in which no slot is ever empty.
"""

import argparse
import heapq
import itertools
import random


def speed_of(points):
    """Tokens per second with so many running."""
    points = sorted(points)

    def speed(count):
        if count <= points[0][0]:
            return points[0][1] * count / points[0][0]
        for (low, at_low), (high, at_high) in zip(points, points[1:]):
            if count <= high:
                return at_low + (at_high - at_low) * (count - low) / (high - low)
        return points[-1][1]

    return speed


class SimulatedWorker:
    """One worker: requests that share its speed, in order of how much is left of them."""

    def __init__(self, number, ready):
        self.number, self.ready = number, ready
        self.running = []  # (work at which it ends, tie, block)
        self.waiting = []
        self.work = 0.0  # Tokens that each running request has had since the beginning.
        self.time = ready
        self.blocks = {}  # block: requests left


def simulate(options):
    """Seconds until all is answered, and the share of the ideal."""
    speed = speed_of(options.speeds)
    slots = options.slots
    chance = random.Random(options.seed)
    drawn = [chance.expovariate(1 / options.tokens) for _ in range(min(options.requests, 100_000))]
    sizes = [max(1, round(size)) if options.spread else options.tokens for size in drawn]
    left, taken, ties = options.requests, 0, itertools.count()
    again = []
    events = []
    workers = [SimulatedWorker(at, options.start) for at in range(options.workers)]
    deaths = 0
    for worker in workers:
        begin = worker.ready + options.hand * worker.number
        heapq.heappush(events, (begin, next(ties), worker, "take"))
        if options.death_hours:
            at = chance.expovariate(1 / (options.death_hours * 3600))
            heapq.heappush(events, (at, next(ties), worker, "die"))

    def advance(worker, now):
        if worker.running and now > worker.time:
            each = speed(len(worker.running)) / len(worker.running)
            worker.work += each * (now - worker.time)
        worker.time = max(worker.time, now)

    def fill(worker, now):
        while worker.waiting and len(worker.running) < slots:
            size, block = worker.waiting.pop()
            heapq.heappush(worker.running, (worker.work + size, next(ties), size, block))
        if worker.running:
            each = speed(len(worker.running)) / len(worker.running)
            at = now + max(0.0, worker.running[0][0] - worker.work) / each
            worker.next = next(ties)
            heapq.heappush(events, (at, worker.next, worker, "end"))

    def take(worker, now):
        nonlocal left, taken
        while len(worker.blocks) < options.overlap and (again or left > 0):
            if again:
                block = again.pop()
            else:
                count = min(options.block, left)
                left -= count
                block = [sizes[(taken + at) % len(sizes)] for at in range(count)]
                taken += count
            name = next(ties)
            worker.blocks[name] = [len(block), block]
            worker.waiting = [(size, name) for size in reversed(block)] + worker.waiting

    last = 0.0
    while events:
        now, tie, worker, kind = heapq.heappop(events)
        if kind == "die":
            if left == 0 and not again and not any(other.blocks for other in workers):
                continue
            deaths += 1
            advance(worker, now)
            again.extend(block for _, block in worker.blocks.values())
            worker.blocks, worker.running, worker.waiting = {}, [], []
            heapq.heappush(events, (now + options.boot + options.start, next(ties), worker, "take"))
            at = now + chance.expovariate(1 / (options.death_hours * 3600))
            heapq.heappush(events, (at, next(ties), worker, "die"))
            # Whoever has nothing to do takes it.
            for other in workers:
                if not other.blocks and other is not worker and again:
                    heapq.heappush(events, (now + options.hand, next(ties), other, "take"))
            continue
        if kind == "end" and tie != getattr(worker, "next", None):
            continue
        advance(worker, now)
        if kind == "end":
            while worker.running and worker.running[0][0] <= worker.work + 1e-6:
                *_, block = heapq.heappop(worker.running)
                worker.blocks[block][0] -= 1
                if worker.blocks[block][0] == 0:
                    del worker.blocks[block]
                    last = max(last, now)
                    heapq.heappush(events, (now + options.hand, next(ties), worker, "take"))
        else:
            take(worker, now)
        fill(worker, now)
    total = sum(sizes[at % len(sizes)] for at in range(options.requests))
    ideal = total / (speed(slots) * options.workers)
    return last, ideal / last, deaths


def points(text):
    return [tuple(map(float, point.split(":"))) for point in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=2_000_000)
    parser.add_argument("--tokens", type=float, default=64, help="tokens of an answer, on average")
    parser.add_argument("--spread", action="store_true", help="lengths differ, exponentially")
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--speeds", type=points, default=points("1:90,4:160,8:210"))
    parser.add_argument("--block", type=int, default=100)
    parser.add_argument("--overlap", type=int, default=2, help="blocks of a worker at a time")
    parser.add_argument("--start", type=float, default=0.4, help="seconds until a process answers")
    parser.add_argument("--boot", type=float, default=5, help="seconds until a dead worker is back")
    parser.add_argument("--hand", type=float, default=0.005, help="seconds to hand out a block")
    parser.add_argument("--death-hours", type=float, default=10, help="0 is never")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    seconds, share, deaths = simulate(options)
    print(f"{seconds:.0f} s, {share:.3f} of the ideal, {deaths} deaths")


if __name__ == "__main__":
    main()
