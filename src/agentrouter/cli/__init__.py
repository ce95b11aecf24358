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

    try:
        app()
    except AgentRouterError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader (head, less) has gone; Python would complain again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
