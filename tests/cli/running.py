"""Run the installed program as a user does: a process, its output, its exit code."""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple


class Done(NamedTuple):
    """What a run gave."""

    code: int
    out: str
    err: str


def agentrouter(*arguments: str, stdin: str | bytes = b"", timeout: float = 120.0) -> Done:
    """Run ``agentrouter`` with ``arguments``; output is decoded leniently so that a test can look at odd bytes."""
    data = stdin.encode("utf-8", "surrogatepass") if isinstance(stdin, str) else stdin
    command = [sys.executable, "-m", "agentrouter", *arguments]
    done = subprocess.run(command, input=data, capture_output=True, timeout=timeout, check=False)
    return Done(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))
