"""The other side of ``sandbox.py``: reads a job on stdin, limits itself, runs the cases, prints the result.

Law: standard library only, and nothing of this package: it runs under ``python -I -S`` in an empty folder.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable
from typing import Any

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_REFUSED = (
    "socket.",
    "subprocess.",
    "ctypes.",
    "os.fork",
    "os.exec",
    "os.spawn",
    "os.posix_spawn",
    "os.system",
    "os.kill",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "os.link",
    "os.symlink",
    "os.chmod",
    "os.chown",
    "os.truncate",
    "os.putenv",
    "shutil.",
    "signal.",
    "pty.",
    "mmap.",
    "sqlite3.",
)
_MAX_FAILURES = 3


def _limit(cpu_s: int, memory_bytes: int) -> None:
    for kind, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (allowed, allowed))
    # At the soft limit comes SIGXCPU, by which the parent tells time from other ends; a second later, SIGKILL.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))


def _leave_network() -> str:
    """Move into a network namespace without interfaces; where that is not allowed, the audit hook is all there is."""
    try:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        flags = _CLONE_NEWNET if os.geteuid() == 0 else _CLONE_NEWUSER | _CLONE_NEWNET
        return "namespace" if libc.unshare(flags) == 0 else "hook"
    except (ImportError, OSError, AttributeError):
        return "hook"


def _guard(event: str, args: tuple[Any, ...]) -> None:
    if event == "open":
        mode, flags = args[1], args[2]
        writes = isinstance(mode, str) and any(letter in mode for letter in "wax+")
        if writes or (isinstance(flags, int) and flags & _WRITE_FLAGS):
            raise PermissionError("the sandbox allows no writing")
    elif event.startswith(_REFUSED):
        raise PermissionError(f"the sandbox does not allow {event}")


def _attempt(call: Callable[[], Any]) -> tuple[Any, str]:
    """Return what the call gives and ``""``, or None and how it failed."""
    try:
        return call(), ""
    except MemoryError:
        return None, "ran out of memory"
    except BaseException as error:  # noqa: BLE001 - foreign code may raise anything, SystemExit included
        return None, f"{type(error).__name__}: {error}"[:200]


def _load(code: str, function: str) -> tuple[Any, str]:
    """Return the function the code defines, or what is wrong with the code."""
    space: dict[str, Any] = {"__name__": "solution"}
    _, problem = _attempt(lambda: exec(compile(code, "solution.py", "exec"), space))
    found = space.get(function)
    if not problem and not callable(found):
        problem = f"The code defines no function {function}."
    return found, problem


def _run(function: Callable[..., Any], name: str, cases: list[list[Any]]) -> tuple[int, list[str]]:
    passed, failures = 0, []
    for args, expected in cases:
        shown = f"{name}({', '.join(map(repr, args))})"
        got, problem = _attempt(lambda args=args: json.loads(json.dumps(function(*args))))  # type: ignore[misc]
        if problem:
            failures.append(f"{shown} failed: {problem}.")
        elif got != expected:
            failures.append(f"{shown} returned {got!r}"[:200] + f", expected {expected!r}.")
        else:
            passed += 1
    return passed, failures[:_MAX_FAILURES]


def main() -> None:
    """Run the job on stdin."""
    job = json.loads(sys.stdin.read())
    # Our own way out, kept before the code may print: what it writes to stdout goes nowhere.
    out = os.dup(1)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    network = _leave_network()
    _limit(job["cpu_s"], job["memory_bytes"])
    sys.addaudithook(_guard)
    passed, failures = 0, list[str]()
    function, error = _load(job["code"], job["function"])
    if not error:
        passed, failures = _run(function, job["function"], job["cases"])
    result = {"passed": passed, "failures": failures, "error": error, "network": network}
    os.write(out, (job["nonce"] + json.dumps(result) + "\n").encode())


if __name__ == "__main__":
    main()
