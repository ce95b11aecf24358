"""The command line: parsing and printing only.

Exit codes: 0 done; 1 done, but something in the input or the run was bad (said on stderr); 2 wrong usage, config or
policy; 130 interrupted.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    # Imported here: `import agentrouter.cli` by itself should not load the CLI library.
    from agentrouter.cli.app import app
    from agentrouter.errors import AgentRouterError

    _stand_in_for_closed_streams()
    try:
        app()
    except AgentRouterError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader (head, less) has gone; Python would complain again when it flushes stdout at exit.
        _drop_output()
        sys.exit(1)
    except OSError as error:
        # A full disk behind stdout, a file that vanished or cannot be read half way.
        name = f"{error.filename}: " if error.filename else ""
        print(f"error: {name}{error.strerror or error}", file=sys.stderr)  # noqa: T201
        _drop_output()
        sys.exit(1)


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _stand_in_for_closed_streams() -> None:
    """Python sets a stream that its parent closed to None; nothing is read from or written to it then."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
