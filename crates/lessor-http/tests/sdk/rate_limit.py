"""The status 429, from a server without memory for large bodies."""

from harness import new_key, raises, run

from onceonly import RateLimitError


def a_large_body_is_429_while_there_is_no_memory_for_it(c):
    key = new_key()
    lease_id = c.ai.lease(key)["lease_id"]
    large = lambda: c.ai.complete(key, lease_id, result={"text": "x" * (17 << 10)})
    raises(RateLimitError, large, message="rate_limited", retry_after_sec=1.0)
    c.ai.complete(key, lease_id, result={"text": "x"})


run([a_large_body_is_429_while_there_is_no_memory_for_it])
