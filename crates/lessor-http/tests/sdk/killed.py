"""Fifty threads run a function under one key, while the server is killed and started again."""

from harness import URL, equal, order
from threads import run

from onceonly import OnceOnly


def client():
    """Returns a client that sends requests again while the server is away."""
    return OnceOnly("any-key", base_url=URL, max_retries_429=100, retry_backoff=0.05, retry_max_backoff=0.2)


for number in range(3):
    # The server is killed in the middle of the work, which is then completed with the same lease.
    run(client(), f"killed {number}", lambda: order("kill"))
order("kill")
for number in range(3):
    found = client().ai.result(f"killed {number}")
    equal((found.status, found.result), ("completed", {"run": 1}))
