"""``python -m agentrouter.demo``: the same as ``agentrouter demo``."""

from __future__ import annotations

import sys

from agentrouter.cli import main

sys.argv[1:1] = ["demo"]
main()
