"""``python -m agentrouter``."""

from agentrouter.cli import main

main()
