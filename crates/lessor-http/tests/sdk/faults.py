"""Faults of the stock client's helpers, and what the server keeps in spite of them."""

import asyncio
import dataclasses

import httpx
from harness import Caller, advance, equal, fail, new_key, raises, run

from onceonly import ApiError
from onceonly.ai_models import AiResult
from onceonly.decorators import idempotent


def outcome_of(c, call):
    """Calls a helper whose asynchronous form always ends with an exception after it has acquired."""
    if c.mode == "sync":
        return call()
    raises(asyncio.CancelledError, call)
    return None


def a_completion_during_an_outage_is_not_recorded_as_failed(c):
    key = new_key()

    def work():
        fail(3, "unavailable")
        return {"value": 1}

    outcome_of(c, lambda: c.ai.run_fn(key, work))
    found = c.ai.result(key)
    equal((found.status, found.result), ("completed", {"value": 1}))


def lose(request, response):
    """Loses the reply to a completion."""
    if request.url.path.endswith("/complete"):
        raise httpx.ReadError("lost", request=request)
    return response


class LossySync(httpx.HTTPTransport):
    def handle_request(self, request):
        return lose(request, super().handle_request(request))


class LossyAsync(httpx.AsyncHTTPTransport):
    async def handle_async_request(self, request):
        return lose(request, await super().handle_async_request(request))


def a_completion_whose_reply_is_lost_stays_completed_though_the_client_fails_it(c):
    key = new_key()
    lossy = Caller(c.mode, transport=LossySync(), async_transport=LossyAsync())
    # The asynchronous client loses this exception too.
    raises(httpx.ReadError if c.mode == "sync" else asyncio.CancelledError,
           lambda: lossy.ai.run_fn(key, lambda: {"value": 1}))
    found = c.ai.result(key)
    equal((found.status, found.result, found.error_code), ("completed", {"value": 1}, None))
    lossy.end()


def a_lost_reply_to_a_completion_that_is_sent_again_is_a_success(c):
    key, sent = new_key(), []
    lease_id = c.ai.lease(key)["lease_id"]
    for _ in range(2):
        sent.append(c.ai.complete(key, lease_id, result={"value": 1}))
    equal(sent[0], sent[1])
    equal(c.ai.status(key).version, 2)


def an_observer_gets_no_lease_id_and_extends_nothing(c):
    key = new_key()
    c.ai.lease(key, ttl=60)
    polled, seen = c.ai.lease(key, ttl=60), c.ai.status(key)
    equal((polled["status"], polled["lease_id"], seen.lease_id), ("polling", None, None))
    waited = c.ai.wait(key, timeout=0, lease_id=polled["lease_id"], extend_every=0)
    equal(waited, AiResult(ok=False, status="failed", key=key, error_code="timeout"))
    waited = c.ai.wait(key, timeout=0.2, poll_min=0.01, poll_max=0.05, lease_id="lease_" + "0" * 32, extend_every=0)
    equal(waited.error_code, "timeout")
    seen = c.ai.status(key)
    equal((seen.version, seen.ttl_left, seen.status), (1, 60, "in_progress"))


def a_superseded_holder_is_refused(c):
    key, taken = new_key(), {}

    def work():
        advance(60)
        taken.update(Caller("sync").ai.lease(key, ttl=60))
        return {"value": "late"}

    error = raises(ApiError if c.mode == "sync" else asyncio.CancelledError, lambda: c.ai.run_fn(key, work, ttl=60))
    if c.mode == "sync":
        equal((error.status_code, error.detail), (409, {"error": "not_holder", "token": taken["token"]}))
    equal((taken["status"], taken["attempt"], taken["former"]["ended"]), ("acquired", 2, "lapsed"))
    equal(c.ai.status(key).status, "in_progress")
    c.ai.complete(key, taken["lease_id"], result={"value": "second"})
    equal(c.ai.result(key).result, {"value": "second"})


def a_lapsed_holder_that_nobody_superseded_completes_late(c):
    key = new_key()
    lease_id = c.ai.lease(key, ttl=60)["lease_id"]
    advance(60)
    raises(ApiError, lambda: c.ai.extend(key, lease_id, ttl=60), status_code=409)
    done = c.ai.complete(key, lease_id, result={"value": 1})
    equal(done, dict(ok=True, status="completed", key=key, version=2, late=True))


def a_lock_that_the_client_made_up_is_not_in_the_store(c):
    key = new_key()
    fail(1, "unavailable")
    made_up = c.check_lock(key, ttl=60)
    equal((made_up.locked, made_up.status_code, made_up.request_id), (True, 0, "fail-open"))
    strict = Caller(c.mode, fail_open=False)
    fail(1, "unavailable")
    raises(ApiError, lambda: strict.check_lock(key, ttl=60), message="unavailable", status_code=503)
    equal([strict.check_lock(key, ttl=60).locked, c.check_lock(key, ttl=60).locked], [True, False])
    strict.end()


def keys_are_the_callers_own_words(c):
    @dataclasses.dataclass
    class Large:
        text: str
        z: int

    runs = []

    def work(value, **options):
        runs.append(1)

    if c.mode == "sync":
        locked = idempotent(c.raw, key_prefix="arguments")(work)
        # The client cuts the first argument, so two are one key, and both ways to call are two keys.
        for value in (Large("x" * 3000, 1), Large("x" * 3000, 2)):
            locked(value)
        equal(len(runs), 1)
        locked("a")
        locked(value="a")
        equal(len(runs), 3)
    key = new_key()
    equal([c.check_lock(key + end).locked for end in ("", " ", "A", "a", "\u00e9", "e\u0301")], [True] * 6)


def a_dead_owners_lease_is_shown_as_expired_and_is_taken_over_by_a_lease_call(c):
    key = new_key()
    c.ai.lease(key, ttl=60)
    advance(60)
    waited = c.ai.wait(key, timeout=0.1, poll_min=0.01, poll_max=0.05)
    equal((waited.status, waited.error_code), ("failed", "timeout"))
    seen = c.ai.status(key)
    equal((seen.status, seen.ttl_left, seen.retry_after_sec), ("expired", 0, 1))
    outcome_of(c, lambda: c.ai.run_fn(key, lambda: {"by": "successor"}))
    equal(c.ai.result(key).result, {"by": "successor"})


def a_canceled_task_leaves_its_lease_to_lapse(c):
    for name, status in (("shop", "acquired"), ("doubtful", "failed")):
        caller, key = Caller(c.mode, name), new_key()

        async def canceled():
            begun = asyncio.Event()

            async def work():
                begun.set()
                await asyncio.sleep(3600)

            task = asyncio.ensure_future(caller.raw.ai.run_fn_async(key, work, ttl=60))
            await begun.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        caller.wait(canceled())
        equal(caller.ai.status(key).status, "in_progress")
        advance(60)
        equal(caller.ai.lease(key, ttl=60)["status"], status)
        caller.end()


def a_lock_of_work_that_failed_opens_after_its_ttl(c):
    runs = []

    def work():
        runs.append(1)
        raise KeyError("work")

    async def work_async():
        work()

    chosen, wait = (work, lambda value: value) if c.mode == "sync" else (work_async, c.wait)
    locked = idempotent(c.raw, key_prefix="failed " + c.mode, ttl=60, return_value_on_duplicate="duplicate")(chosen)
    raises(KeyError, lambda: wait(locked()))
    equal(wait(locked()), "duplicate")
    advance(60)
    raises(KeyError, lambda: wait(locked()))
    equal(len(runs), 2)


def a_timeout_that_the_client_made_up_is_not_in_the_record(c):
    key = new_key()
    lease_id = c.ai.lease(key)["lease_id"]
    equal(c.ai.wait(key, timeout=0).error_code, "timeout")
    seen = c.ai.status(key)
    equal((seen.status, seen.error_code, seen.version), ("in_progress", None, 1))
    c.ai.complete(key, lease_id, result={"value": 1})
    equal(c.ai.wait(key, timeout=0).result, {"value": 1})


def a_heartbeat_after_the_end_changes_nothing(c):
    key = new_key()
    lease_id = c.ai.lease(key)["lease_id"]
    c.ai.complete(key, lease_id, result={"value": 1})
    raises(ApiError, lambda: c.ai.extend(key, lease_id, ttl=60), status_code=409)
    equal(c.ai.status(key).version, 2)


run([value for name, value in list(globals().items())
     if getattr(value, "__module__", "") == "__main__" and name[:2] in ("a_", "an", "ke")])
