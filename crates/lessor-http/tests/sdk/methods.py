"""Every public method of the stock client, and the whole reply to it."""

import asyncio

from harness import ANY, LEASE_ID, URL, Caller, advance, equal, new_key, now, raises, run

from onceonly import ApiError, create_client
from onceonly.ai_models import AiResult, AiStatus
from onceonly.decorators import idempotent, idempotent_ai
from onceonly.models import CheckLockResult

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
LEASE = dict(ok=True, ttl=1800, lease_id=None, done_at=None, result_hash=None, error_code=None, limit=3000)
STATUS = dict(ok=True, lease_id=None, ttl_left=None, done_at=None, result_hash=None, error_code=None)


def a_lease_is_acquired_polled_extended_completed_and_read(c):
    key, begun = new_key(), now()
    common = dict(LEASE, key=key, first_seen_at=begun)
    granted = c.ai.lease(key, ttl=1800, metadata={"agent_id": "support_bot"})
    grant = dict(token=ANY, attempt=1, former=None, usage=ANY, charged=1, retry_after_sec=None, ttl_left=None)
    equal(granted, dict(common, **grant, status="acquired", lease_id=LEASE_ID, version=1))
    lease_id, usage = granted["lease_id"], granted["usage"]
    advance(50)
    polled = dict(common, status="polling", ttl_left=1750, version=1, retry_after_sec=5, usage=usage, charged=0)
    equal(c.ai.lease(key, ttl=1800), polled)
    seen = AiStatus(**dict(STATUS, status="in_progress", key=key, version=1, first_seen_at=begun, ttl_left=1750,
                           retry_after_sec=5))
    equal(c.ai.status(key), seen)
    equal(c.ai.result(key), AiResult(ok=True, status="in_progress", key=key))
    extended = dict(ok=True, status="extended", key=key, ttl=1800)
    equal(c.ai.extend(key, lease_id, ttl=1800), dict(extended, version=2))
    equal(c.ai.extend(key, lease_id), dict(extended, version=3))
    advance(10)
    result = {"status": "resolved", "messages": 15}
    for _ in range(2):  # sent again, it gets the same reply
        done = c.ai.complete(key, lease_id, result=result, result_hash="a1b2c3d4e5f6")
        equal(done, dict(ok=True, status="completed", key=key, version=4))
    outcome = AiResult(ok=True, status="completed", key=key, result=result, result_hash="a1b2c3d4e5f6", done_at=now())
    equal(c.ai.result(key), outcome)
    equal(c.ai.wait(key), outcome)
    finished = dict(status="completed", version=4, done_at=now(), result_hash="a1b2c3d4e5f6", retry_after_sec=None)
    equal(c.ai.lease(key, ttl=1800), dict(common, **finished, ttl_left=None, usage=usage, charged=0))
    equal(c.ai.status(key), AiStatus(**dict(STATUS, key=key, first_seen_at=begun, **finished)))


def a_completion_without_a_result_reads_back_as_null(c):
    key = new_key()
    lease_id = c.ai.lease(key)["lease_id"]
    equal(c.ai.complete(key, lease_id), dict(ok=True, status="completed", key=key, version=2))
    equal(c.ai.result(key), AiResult(ok=True, status="completed", key=key, result_hash=EMPTY, done_at=now()))


def a_lease_is_failed(c):
    key = new_key()
    lease_id = c.ai.lease(key)["lease_id"]
    for _ in range(2):
        failed = c.ai.fail(key, lease_id, error_code="connection_lost", error_hash="abc")
        equal(failed, dict(ok=True, status="failed", key=key, version=2))
    outcome = AiResult(ok=True, status="failed", key=key, error_code="connection_lost", done_at=now())
    equal(c.ai.result(key), outcome)
    equal(c.ai.wait(key), outcome)
    again = c.ai.lease(key)
    equal((again["status"], again["error_code"], again["lease_id"]), ("failed", "connection_lost", None))


def a_lease_is_canceled_with_and_without_a_reason(c):
    for options, code in (({"reason": "user_requested"}, "canceled:user_requested"), ({}, "canceled")):
        key = new_key()
        lease_id = c.ai.lease(key)["lease_id"]
        equal(c.ai.cancel(key, lease_id, **options), dict(ok=True, status="failed", key=key, version=2))
        equal(c.ai.result(key), AiResult(ok=True, status="failed", key=key, error_code=code, done_at=now()))


def a_key_in_doubt_ends_waiting_with_a_code(c):
    doubtful, key = Caller(c.mode, "doubtful"), new_key()
    doubtful.ai.lease(key, ttl=60)
    advance(60)
    again = doubtful.ai.lease(key, ttl=60)
    equal((again["status"], again["error_code"], again["done_at"]), ("failed", "in_doubt", None))
    equal(doubtful.ai.wait(key), AiResult(ok=True, status="failed", key=key, error_code="in_doubt"))
    doubtful.end()


def a_function_runs_once_and_its_result_is_read(c):
    key, runs = new_key(), []

    def work():
        runs.append(key)
        return {"value": 42}

    if c.mode == "sync":
        first = c.ai.run_fn(key, work)
        equal((first.status, first.result), ("completed", {"value": 42}))
    else:
        # The client awaits its own canceled task, and ends with that.
        raises(asyncio.CancelledError, lambda: c.ai.run_fn(key, work))
    equal(c.ai.run_fn(key, work).result, {"value": 42})
    equal(runs, [key])


def a_function_that_raises_is_recorded_as_failed(c):
    key = new_key()

    def work():
        raise KeyError("work")

    # The asynchronous client loses the exception of the work in the same way.
    raises(KeyError if c.mode == "sync" else asyncio.CancelledError, lambda: c.ai.run_fn(key, work))
    equal(c.ai.run_fn(key, work).error_code, "fn_error")


def a_function_under_a_held_key_does_not_run(c):
    key = new_key()
    c.ai.lease(key)
    found = c.ai.run_fn(key, lambda: 1 / 0, wait_on_conflict=False)
    equal(found, AiResult(ok=False, status="polling", key=key, error_code="not_acquired"))


def decorated_functions_run_once(c):
    runs = []

    def work(number):
        runs.append(number)
        return {"number": number}

    async def work_async(number):
        return work(number)

    chosen, wait = (work, lambda value: value) if c.mode == "sync" else (work_async, c.wait)
    leased = idempotent_ai(c.raw, key_fn=lambda number: f"decorated {c.mode} {number}")(chosen)
    if c.mode == "sync":
        equal(leased(1).result, {"number": 1})
    else:
        raises(asyncio.CancelledError, lambda: wait(leased(1)))
    equal(wait(leased(1)).result, {"number": 1})
    locked = idempotent(c.raw, key_prefix=c.mode, return_value_on_duplicate="duplicate")(chosen)
    equal([wait(locked(2)), wait(locked(2))], [{"number": 2}, "duplicate"])
    equal(runs, [1, 2])


def a_lock_is_locked_once_until_its_ttl(c):
    key, begun = new_key(), now()
    body = dict(success=True, status="locked", key=key, ttl=3600, first_seen_at=None)
    first = c.check_lock(key, ttl=3600, meta={"a": 1}, request_id="my-request")
    equal(first, CheckLockResult(locked=True, duplicate=False, key=key, ttl=3600, first_seen_at=None, status_code=200,
                                 request_id="my-request", raw=dict(body, metadata={"a": 1})))
    again = c.check_lock(key, ttl=3600)
    body.update(success=False, status="duplicate", first_seen_at=begun)
    equal(again, CheckLockResult(locked=False, duplicate=True, key=key, ttl=3600, first_seen_at=begun, status_code=200,
                                 request_id=ANY, raw=body))
    advance(3600)
    equal(c.check_lock(key, ttl=3600).locked, True)


def a_namespace_may_answer_duplicates_with_409(c):
    strict, key = Caller(c.mode, "strict"), new_key()
    equal(strict.check_lock(key, ttl=60).locked, True)
    detail = {"error": "Duplicate blocked", "first_seen_at": now()}
    equal(strict.check_lock(key, ttl=60), CheckLockResult(
        locked=False, duplicate=True, key=key, ttl=60, first_seen_at=now(), status_code=409, request_id=ANY,
        raw={"detail": detail}))
    strict.end()


def usage_counts_grants_and_locks_apart(c):
    other = Caller(c.mode, "other")
    before = other.usage_all()
    key = new_key()
    other.ai.lease(key)
    other.ai.lease(key)
    other.check_lock(key)
    other.check_lock(key)
    after = other.usage_all()
    equal({name: after[name] for name in ("plan", "month")}, dict(plan="embedded", month=now()[:7]))
    added = {kind: {name: after[kind][name] - before[kind][name] for name in after[kind] if name != "limit"}
             for kind in ("make", "ai")}
    equal(added, dict(
        make=dict(usage=1, requests_total_month=2, blocked_total_month=1, charged_total_month=1, polling_total_month=0),
        ai=dict(usage=1, requests_total_month=2, blocked_total_month=0, charged_total_month=1, polling_total_month=1)))
    names = ("usage", "limit", "requests_total_month", "blocked_total_month")
    for kind, options in (("make", {}), ("make", {"kind": "make"}), ("ai", {"kind": "ai"})):
        expected = dict({name: after[kind][name] for name in names}, plan="embedded", month=now()[:7])
        equal(other.usage(**options), expected)
    days = other.metrics("2025-01-15", now()[:10])["data"]
    equal(set(days[0]), {"day", "kind", "requests", "acquired", "polling", "completed", "failed", "blocked"})
    equal(sum(day["acquired"] for day in days if day["kind"] == "ai"), after["ai"]["usage"])
    equal(other.metrics("2024-01-01", "2024-12-31"), {"data": []})
    other.end()


def the_account_shows_and_stores_its_settings(c):
    names = [name + "_notifications_enabled" for name in ("email", "tool_error", "run_failure")]
    stored = c.update_notifications(**{name: True for name in names})
    equal(stored, {name: True for name in names})
    stored = c.update_notifications(email_notifications_enabled=False)
    equal([stored[name] for name in names], [False, True, True])
    me = c.me()
    limits = me.pop("limits")
    equal(me, dict(stored, namespace="shop", plan="starter"))
    assert limits["ai"] == 3000 and limits["make"] is None and limits["max_ttl"] >= 1800, limits


def a_key_of_any_visible_characters_arrives_as_it_is(c):
    for key in (new_key() + " ü/?#%&+=;\"'\\ 漢🙂", new_key() + "+" + "k" * 240, "%00 " + new_key()):
        lease_id = c.ai.lease(key)["lease_id"]
        equal(c.ai.status(key).key, key)
        c.ai.complete(key, lease_id, result={"key": key})
        equal(c.ai.result(key).result, {"key": key})


def an_address_with_and_without_a_path_reach_the_same(c):
    for address in (URL, URL + "/", URL + "/v1", URL + "/v1/"):
        client = create_client("key-shop", base_url=address)
        equal(client.me()["namespace"], "shop")
        client.close()
    c.close()


def calls_that_are_not_implemented_say_so(c):
    tool = dict(agent_id="agent", tool="tool")
    policy = dict(agent_id="agent")
    for call in (
        lambda: c.ai.run("key"), lambda: c.ai.run(**tool), lambda: c.ai.run_and_wait("key"),
        lambda: c.ai.run_and_wait(**tool), lambda: c.ai.run_tool(**tool), lambda: c.ai_run("key"),
        lambda: c.ai_run_and_wait("key"), lambda: c.events(), lambda: c.post_event(run_id="run", type="type"),
        lambda: c.get_run_timeline("run/1"), lambda: c.gov.upsert_policy(policy),
        lambda: c.gov.policy_from_template("agent", "strict"), lambda: c.gov.list_policies(),
        lambda: c.gov.get_policy("agent"), lambda: c.gov.create_tool({"name": "tool"}), lambda: c.gov.list_tools(),
        lambda: c.gov.get_tool("tool"), lambda: c.gov.toggle_tool("tool", enabled=True),
        lambda: c.gov.delete_tool("tool"), lambda: c.gov.disable_agent("agent"), lambda: c.gov.enable_agent("agent"),
        lambda: c.gov.agent_logs("agent"), lambda: c.gov.agent_metrics("agent"),
    ):
        raises(ApiError, call, message="not_implemented", status_code=501, detail={"error": "not_implemented"})


run([value for value in list(globals().values()) if getattr(value, "__module__", "") == "__main__"], wants_all=True)
