"""Runs scenarios with the stock client: once with its synchronous, once with its asynchronous methods."""

import asyncio
import datetime
import faulthandler
import inspect
import itertools
import sys
import traceback

from onceonly import OnceOnly
from onceonly.ai import AiClient
from onceonly.governance import GovernanceClient

faulthandler.dump_traceback_later(300, exit=True)

URL = sys.argv[1]
MODES = ("sync", "async")
# The calls by mode and method: True if all replies were as expected.
table = {mode: {} for mode in MODES}
_start = datetime.datetime(2025, 1, 15, 10, 30)
_advanced = 0
_numbers = itertools.count(1)
_called = set()


class Any:
    """Equals every value except None."""

    def __eq__(self, other):
        return other is not None

    def __repr__(self):
        return "ANY"


class AnyLeaseId(Any):
    def __eq__(self, other):
        digits = other[6:] if isinstance(other, str) else ""
        return other == "lease_" + digits and len(digits) == 32 and int(digits, 16) >= 0


ANY, LEASE_ID = Any(), AnyLeaseId()


def order(text):
    """Has the test carry out an order, and returns afterwards."""
    print("@ " + text, flush=True)
    assert sys.stdin.readline() == "done\n"


def advance(seconds):
    """Moves the clock of the server."""
    global _advanced
    order(f"advance {seconds}")
    _advanced += seconds


def fail(number, error):
    """Has the next operations of the server's store fail."""
    order(f"fail {number} {error}")


def now():
    return (_start + datetime.timedelta(seconds=_advanced)).strftime("%Y-%m-%dT%H:%M:%SZ")


def new_key():
    return f"key {next(_numbers)}"


def equal(found, expected):
    assert found == expected, f"\n  expected {expected!r}\n  but was  {found!r}"


def raises(kind, call, *, message=None, **fields):
    """Checks that a call raises exactly this exception, with these fields."""
    try:
        returned = call()
    except BaseException as error:
        assert type(error) is kind, f"expected {kind.__name__}, but was {type(error).__name__}: {error}"
        if message is not None:
            equal(str(error), message)
        for name, value in fields.items():
            equal(getattr(error, name), value)
        return error
    raise AssertionError(f"expected {kind.__name__}, but it returned {returned!r}")


class Methods:
    """The methods of an object of the client, under their synchronous names."""

    def __init__(self, caller, target, prefix):
        self._caller, self._target, self._prefix = caller, target, prefix

    def __getattr__(self, name):
        if name in ("ai", "gov"):
            return Methods(self._caller, getattr(self._target, name), name + ".")
        mode = self._caller.mode
        _called.add(self._prefix + name)
        if mode == "sync":
            return getattr(self._target, name)
        method = getattr(self._target, "aclose" if name == "close" else name + "_async")
        return lambda *args, **options: self._caller.wait(method(*args, **options))


class Caller(Methods):
    """A client whose methods are called in one of the modes."""

    def __init__(self, mode, key="shop", path="", **options):
        self.mode = mode
        self.loop = asyncio.new_event_loop()
        self.raw = OnceOnly("key-" + key, base_url=URL + path, **options)
        super().__init__(self, self.raw, "")

    def wait(self, future):
        return self.loop.run_until_complete(future)

    def end(self):
        self.raw.close()
        self.wait(self.raw.aclose())
        self.loop.close()


def public_methods():
    """Returns the names of all public methods of the client that have two forms."""
    names = set()
    for prefix, kind in (("", OnceOnly), ("ai.", AiClient), ("gov.", GovernanceClient)):
        for name, _ in inspect.getmembers(kind, inspect.isfunction):
            if not name.startswith("_") and not name.endswith("_async") and name != "aclose":
                names.add(prefix + name)
    return names


def run(scenarios, wants_all=False):
    """Runs the scenarios in both modes, prints the table, and ends the program."""
    failures = 0
    for mode, scenario in itertools.product(MODES, scenarios):
        _called.clear()
        caller = Caller(mode)
        try:
            scenario(caller)
            passed = True
        except BaseException:
            passed = False
            failures += 1
            print(f"FAILED: {scenario.__name__} ({mode})")
            traceback.print_exc(file=sys.stdout)
        finally:
            fail(0, "none")
            caller.end()
        if not wants_all:
            print(f"{scenario.__name__:<72} {mode:<6} {'ok' if passed else 'FAILED'}")
        for name in _called:
            table[mode][name] = table[mode].get(name, True) and passed
    if wants_all:
        print(f"{'method':<28} {'sync':<8} async")
        words = {True: "ok", False: "FAILED", None: "NOT CALLED"}
        for name in sorted(public_methods() | table["sync"].keys()):
            cells = [table[mode].get(name) for mode in MODES]
            failures += cells.count(None)
            print(f"{name:<28} {words[cells[0]]:<8} {words[cells[1]]}")
    sys.exit(1 if failures else 0)
