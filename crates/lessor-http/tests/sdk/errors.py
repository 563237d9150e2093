"""Every status of the contract, and the exception that the stock client makes of it."""

import json
import urllib.request

import httpx
from harness import ANY, LEASE_ID, URL, Caller, advance, equal, fail, new_key, raises, run

from onceonly import ApiError, OverLimitError, UnauthorizedError, ValidationError
from onceonly._http import parse_json_or_raise


def post(path, **body):
    """Sends what the client cannot."""
    headers = {"Authorization": "Bearer key-shop"}
    request = urllib.request.Request(URL + path, json.dumps(body).encode(), headers)
    return json.loads(urllib.request.urlopen(request).read())


def of(c, key, call, **expected):
    """Makes a call as another caller, which raises what is expected."""
    other = Caller(c.mode, key)
    raises(expected.pop("kind"), lambda: call(other), **expected)
    other.end()


def calls(c):
    """Returns all calls, on a new key and with an id that nobody has."""
    key, lease_id = new_key(), "lease_" + "0" * 32
    return [
        lambda: c.ai.lease(key), lambda: c.ai.status(key), lambda: c.ai.result(key), lambda: c.ai.wait(key),
        lambda: c.ai.extend(key, lease_id), lambda: c.ai.complete(key, lease_id), lambda: c.ai.cancel(key, lease_id),
        lambda: c.ai.fail(key, lease_id, error_code="code"), lambda: c.check_lock(key), lambda: c.me(),
        lambda: c.usage(), lambda: c.usage_all(), lambda: c.metrics("2025-01-01", "2025-01-31"),
        lambda: c.update_notifications(email_notifications_enabled=True), lambda: c.events(),
    ]


def no_key_is_401_and_a_wrong_or_disabled_one_is_403(c):
    # The client cannot send an empty key, but it takes connections without headers of its own.
    bare = dict(sync_client=httpx.Client(base_url=URL + "/v1"), async_client=httpx.AsyncClient(base_url=URL + "/v1"))
    for key, options, message in (
        ("none", bare, "Missing Authorization Bearer token"),
        ("wrong", {}, "Invalid API key"),
        ("disabled", {}, "API key disabled"),
    ):
        other = Caller(c.mode, key, **options)
        for call in calls(other):
            raises(UnauthorizedError, call, message=message)
        if options:
            bare["sync_client"].close()
            other.wait(bare["async_client"].aclose())
        other.end()


def a_used_up_quota_is_402(c):
    detail = dict(error="payment_required", highlights="Plan limit reached", plan="free", limit=0, usage=0,
                  upgrade_url="https://example.com/plans")
    poor = Caller(c.mode, "poor")
    for call in (lambda: poor.ai.lease(new_key()), lambda: poor.check_lock(new_key()),
                 lambda: poor.ai.run_fn(new_key(), lambda: 1 / 0)):
        raises(OverLimitError, call, message="Usage limit reached. Please upgrade your plan.", detail=detail)
    poor.end()


def an_unknown_key_is_404(c):
    key = new_key()
    detail = dict(error="not_found", message=ANY)
    for call in (lambda: c.ai.status(key), lambda: c.ai.result(key), lambda: c.ai.wait(key),
                 lambda: c.ai.extend(key, "lease_" + "0" * 32), lambda: c.ai.complete(key, "lease_" + "0" * 32),
                 lambda: c.ai.fail(key, "lease_" + "0" * 32, error_code="code"), lambda: c.ai.cancel(key, "id")):
        raises(ApiError, call, message="not_found", status_code=404, detail=detail)


def the_key_of_another_namespace_is_404(c):
    key = new_key()
    c.ai.lease(key)
    of(c, "other", lambda other: other.ai.status(key), kind=ApiError, status_code=404)


def an_unknown_path_is_404_and_an_unknown_method_is_405(c):
    elsewhere = Caller(c.mode, path="/elsewhere")
    raises(ApiError, elsewhere.me, message="Not Found", status_code=404, detail={})
    elsewhere.end()
    runs = Caller(c.mode, path="/v1/runs")
    event = lambda: runs.post_event(run_id="run", type="type")
    raises(ApiError, event, message="Method Not Allowed", status_code=405, detail={})
    runs.end()


def outcomes(c, key, lease_id):
    return [
        lambda: c.ai.complete(key, lease_id, result={"late": True}),
        lambda: c.ai.fail(key, lease_id, error_code="late"),
        lambda: c.ai.cancel(key, lease_id, reason="late"),
        lambda: c.ai.extend(key, lease_id, ttl=60),
    ]


def the_id_of_another_lease_is_409(c):
    key = new_key()
    granted = c.ai.lease(key)
    equal(granted["lease_id"], LEASE_ID)
    detail = dict(error="not_holder", token=granted["token"])
    for lease_id in ("lease_" + "0" * 32, "lease_abc123xyz", "x"):
        for call in outcomes(c, key, lease_id):
            raises(ApiError, call, message="not_holder", status_code=409, detail=detail)


def an_own_lapsed_lease_is_409(c):
    key = new_key()
    lease_id = c.ai.lease(key, ttl=60)["lease_id"]
    advance(60)
    expired = lambda: c.ai.extend(key, lease_id, ttl=60)
    raises(ApiError, expired, message="lease_expired", status_code=409, detail={"error": "lease_expired"})


def an_own_finished_lease_is_409(c):
    for status, finish in (("completed", lambda key, lease_id: c.ai.complete(key, lease_id)),
                           ("failed", lambda key, lease_id: c.ai.fail(key, lease_id, error_code="code"))):
        key = new_key()
        lease_id = c.ai.lease(key)["lease_id"]
        finish(key, lease_id)
        detail = dict(error="already_finished", status=status)
        for call in outcomes(c, key, lease_id):
            raises(ApiError, call, message="already_finished", status_code=409, detail=detail)


def an_own_released_lease_is_409(c):
    key = new_key()
    lease_id = c.ai.lease(key)["lease_id"]
    post("/v1/ai/release", key=key, lease_id=lease_id)
    for call in outcomes(c, key, lease_id):
        raises(ApiError, call, message="released", status_code=409, detail={"error": "released"})


def a_body_or_result_that_is_too_large_is_413(c):
    strict, key = Caller(c.mode, "strict"), new_key()
    lease_id = strict.ai.lease(key)["lease_id"]
    limit = 1000 + (64 << 10)
    for size, code, most in ((1000, "result_too_large", 1000), (limit, "body_too_large", limit)):
        detail = dict(error=code, message=ANY, limit=most)
        large = lambda: strict.ai.complete(key, lease_id, result={"text": "x" * size})
        raises(ApiError, large, message=code, status_code=413, detail=detail)
    strict.ai.complete(key, lease_id, result={"text": "x" * 980})
    strict.end()


def a_field_out_of_its_range_is_422(c):
    strict, key = Caller(c.mode, "strict"), new_key()
    lease_id = strict.ai.lease(key)["lease_id"]
    for field, call in (
        ("key", lambda: strict.ai.lease("")),
        ("key", lambda: strict.ai.lease("k" * 257)),
        ("key", lambda: strict.ai.lease("new\nline")),
        ("key", lambda: strict.ai.status("")),
        ("key", lambda: strict.check_lock("")),
        ("ttl", lambda: strict.ai.lease(new_key(), ttl=0)),
        ("ttl", lambda: strict.ai.lease(new_key(), ttl=3601)),
        ("ttl", lambda: strict.ai.extend(key, lease_id, ttl=-1)),
        ("ttl", lambda: strict.check_lock(new_key(), ttl=10**30)),
        ("metadata", lambda: strict.ai.lease(new_key(), metadata={"text": "x" * 2048})),
        ("result_hash", lambda: strict.ai.complete(key, lease_id, result_hash="h" * 129)),
        ("error_code", lambda: strict.ai.fail(key, lease_id, error_code="")),
        ("error_code", lambda: strict.ai.fail(key, lease_id, error_code="c" * 257)),
        ("reason", lambda: strict.ai.cancel(key, lease_id, reason="r" * 248)),
        ("kind", lambda: strict.usage("other")),
        ("from_day", lambda: strict.metrics("yesterday", "2025-01-31")),
    ):
        error = raises(ValidationError, call)
        beginning, text = "Validation Error: ", str(error)
        assert text.startswith(beginning), text
        [entry] = json.loads(text[len(beginning):])["detail"]
        equal(set(entry), {"type", "loc", "msg", "input"})
        equal(entry["loc"][1], field)
    equal(strict.ai.status(key).version, 1)
    strict.end()


def another_request_under_a_key_is_422(c):
    key = new_key()
    post("/v1/ai/lease", key=key, fingerprint="ab" * 32)
    # The stock client sends no fingerprint, so its request is not another one.
    equal(c.ai.lease(key)["status"], "polling")
    headers = {"Authorization": "Bearer key-shop"}
    body = dict(key=key, fingerprint="cd" * 32)
    if c.mode == "sync":
        other = c.raw._sync_client.post("/ai/lease", json=body, headers=headers)
        raises(ValidationError, lambda: parse_json_or_raise(other), message="fingerprint_mismatch")


def a_store_that_refuses_is_500_503_or_507(c):
    for number, code in ((500, "corrupt"), (500, "incompatible"), (503, "unavailable"), (503, "indeterminate"),
                         (507, "full")):
        key = new_key()
        calls = [lambda: c.ai.lease(key)]
        if code != "full" and code != "indeterminate":
            calls.append(lambda: c.ai.status(key))
        for call in calls:
            fail(1, code)
            raises(ApiError, call, message=code, status_code=number, detail={"error": code})


def calls_that_fail_for_a_moment_are_sent_again_if_asked_for(c):
    patient, key = Caller(c.mode, max_retries_429=2, retry_backoff=0.01), new_key()
    fail(1, "unavailable")
    equal(patient.ai.lease(key)["status"], "acquired")
    patient.end()


run([value for name, value in list(globals().items())
     if getattr(value, "__module__", "") == "__main__" and name not in ("post", "of", "calls", "outcomes")])
