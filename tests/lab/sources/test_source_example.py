"""The reader that docs/how-to/add-a-source.md shows works as it stands."""

from __future__ import annotations

import json
import re
import sys
import types
from pathlib import Path

import pytest

from agentrouter.lab.sources.lines import head_of
from agentrouter.lab.trace import TraceReport

GUIDE = Path(__file__).parents[3] / "docs" / "how-to" / "add-a-source.md"


def test_the_guides_example_reads_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)[0]
    module = types.ModuleType("acme")
    # msgspec looks annotations up in the module of the class.
    monkeypatch.setitem(sys.modules, "acme", module)
    exec(compile(code, str(GUIDE), "exec"), module.__dict__)
    good = {"call_id": "c1", "run": "r", "model": "m", "tokens_in": 5, "tokens_out": 2, "charged": "0.0000015"}
    path = tmp_path / "acme.jsonl"
    bad = [{**good, "charged": "free"}, {**good, "tokens_in": -5}]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*bad, good, good]))
    source, report = module.AcmeSource(), TraceReport()
    assert source.sniff(path, head_of(path))
    assert [(one.step.id, one.cost_nusd) for one in source.read(path, report)] == [("c1", 1500)]
    assert [(one.line, one.field) for one in report.problems] == [(1, "charged"), (2, "tokens_in")]
    assert report.skipped == {"duplicate": 1}
