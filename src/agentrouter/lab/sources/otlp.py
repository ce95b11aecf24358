"""OTLP/JSON spans with GenAI attributes: what the collector's file exporter, or one span a line, gives.

Needs ``gen_ai.*`` (today's names or those of 2025) on the spans of model calls; ``agentrouter.*`` where our own gateway
wrote them. Usage counts include cached tokens, as the convention demands.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agentrouter.lab.sources.gen_ai import GenAi
from agentrouter.lab.sources.openinference import MARKS, OpenInference, is_spans
from agentrouter.lab.sources.spans import SpanReader
from agentrouter.lab.trace import RecordedStep, TraceReport


class OtlpSource:
    """GenAI spans; OpenInference spans in between are read too."""

    name = "otlp"

    def __init__(self) -> None:
        self._spans = SpanReader((GenAi(), OpenInference()))

    def sniff(self, path: Path, head: bytes) -> bool:
        """Spans without OpenInference marks."""
        return is_spans(head) and not any(mark in head for mark in MARKS)

    def read(self, path: Path, report: TraceReport) -> Iterator[RecordedStep]:
        """Yield the inference spans."""
        return self._spans.read(path, report)
