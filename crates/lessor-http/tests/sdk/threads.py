"""Fifty threads that run a function under one key."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from harness import URL, equal

from onceonly import OnceOnly

THREADS = 50


def race(client, key, work):
    """Returns the outcomes of all threads, which begin at the same time."""
    barrier = threading.Barrier(THREADS)

    def one(_):
        barrier.wait()
        return client.ai.run_fn(key, work, poll_min=0.02, poll_max=0.05)

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(one, range(THREADS)))


def run(client, key, work):
    """Runs the work, and checks that all threads got the outcome of a single run."""
    runs, lock = [], threading.Lock()

    def counted():
        with lock:
            runs.append(key)
        work()
        return {"run": len(runs)}

    outcomes = race(client, key, counted)
    equal(runs, [key])
    equal([(outcome.status, outcome.result) for outcome in outcomes], [("completed", {"run": 1})] * THREADS)
    print(f"{THREADS} threads, {key}: 1 run")


if __name__ == "__main__":
    client = OnceOnly("key-shop", base_url=URL)
    for number in range(3):
        run(client, f"threads {number}", lambda: None)
    equal(client.usage("ai")["usage"], 3)
    sys.exit(0)
