"""Whether the answer came to its end: not empty, not cut at the token limit, not refused by a filter."""

from __future__ import annotations

import msgspec

from agentrouter.types import Reply, Step, Verdict
from agentrouter.verifiers import failed, passed


class Complete(msgspec.Struct, frozen=True):
    """Fail empty answers, answers cut by the length limit and filtered ones."""

    name: str = "complete"

    def check(self, step: Step, reply: Reply) -> Verdict:
        """Look at the finish reason and the content."""
        if reply.finish in ("content_filter", "refusal"):
            return failed(self.name, f"the model stopped with {reply.finish}")
        if reply.finish == "length":
            return failed(self.name, "the answer was cut at the token limit")
        if not reply.tool_calls and not reply.text.strip():
            return failed(self.name, "the answer is empty")
        return passed(self.name)
