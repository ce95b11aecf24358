"""Run a function that a model wrote against test cases, in a process of its own with little to break.

The child limits itself before it meets the code: CPU seconds, memory, file size and open files by ``setrlimit``; no
network, by a namespace of its own where the kernel allows it; an audit hook refuses sockets, new processes, ``ctypes``
and every write (the code needs none). The parent kills the whole process group when the time is up.

Law: this holds back accidents and clumsy code, which is what a small model writes. An audit hook is not a wall against
an attacker: code you have reason to distrust belongs in a container or a virtual machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from typing import Any

import msgspec

from agentrouter.demo import sandbox_child

MAX_CODE_CHARS = 20_000


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the child may use."""

    cpu_s: int = 2
    wall_s: float = 6.0
    memory_bytes: int = 256 * 1024 * 1024


class Case(msgspec.Struct, frozen=True):
    """One test: the arguments and what the function must return, as JSON values."""

    args: tuple[Any, ...]
    expected: Any


class TestReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a test run."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    passed: int
    total: int
    failures: tuple[str, ...] = ()
    """The first few failing cases, as a programmer would want to read them."""
    error: str = ""
    """Why the cases could not all run: a syntax error, no such function, time, memory."""
    network: str = ""
    """How the network was taken away: ``namespace`` or ``hook``."""

    @property
    def ok(self) -> bool:
        """Whether every case passed."""
        return self.total > 0 and self.passed == self.total

    def summary(self) -> str:
        """Return one line for the next prompt."""
        parts = [f"{self.passed} of {self.total} tests pass."]
        if self.error:
            parts.append(self.error)
        return " ".join([*parts, *self.failures[:2]])


def run_cases(code: str, function: str, cases: tuple[Case, ...], limits: Limits | None = None) -> TestReport:
    """Run ``function`` of ``code`` on each case and compare what it returns.

    Args:
        code: Python source that defines the function.
        function: its name.
        cases: the tests.
        limits: what the child may use; None: the defaults of ``Limits``.
    """
    limits = limits or Limits()
    if len(code) > MAX_CODE_CHARS:
        return TestReport(passed=0, total=len(cases), error=f"the code is longer than {MAX_CODE_CHARS} characters")
    nonce = secrets.token_hex(8)
    job = {
        "code": code,
        "function": function,
        "cases": [[list(case.args), case.expected] for case in cases],
        "nonce": nonce,
        "cpu_s": limits.cpu_s,
        "memory_bytes": limits.memory_bytes,
    }
    with tempfile.TemporaryDirectory(prefix="agentrouter-sandbox-") as folder:
        command = [sys.executable, "-I", "-S", "-B", str(sandbox_child.__file__)]
        # An environment of our own: no keys, no proxy, no PYTHONPATH reaches the code.
        child = subprocess.Popen(
            command,
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            output, _ = child.communicate(json.dumps(job).encode(), timeout=limits.wall_s)
            timed_out = False
        except subprocess.TimeoutExpired:
            output, timed_out = b"", True
        finally:
            # The group, not the child: whatever it may have started goes with it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None and not pipe.closed:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
    return _report(output, nonce, len(cases), child.returncode, timed_out=timed_out)


def _report(output: bytes, nonce: str, total: int, code: int, *, timed_out: bool) -> TestReport:
    if timed_out or code == -signal.SIGXCPU:
        return TestReport(passed=0, total=total, error="The tests ran out of time (an endless loop?).")
    for line in reversed(output.decode("utf-8", "replace").splitlines()):
        # Only a line with the nonce counts: the code can print, but it cannot write its own verdict by chance.
        if line.startswith(nonce):
            found = json.loads(line[len(nonce) :])
            return TestReport(
                passed=found["passed"],
                total=total,
                failures=tuple(found["failures"]),
                error=found["error"],
                network=found["network"],
            )
    return TestReport(passed=0, total=total, error=f"The test process ended without a result (exit {code}).")
