"""The code in docs/how-to/ledger-and-telemetry.md runs."""

from __future__ import annotations

import logging
import re
import sqlite3
from pathlib import Path

import pytest

from agentrouter.ledger import open_ledger
from agentrouter.ledger.otel import trace_id_of

from .records import escalated

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "ledger-and-telemetry.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_python_runs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL)
    monkeypatch.chdir(tmp_path)
    with open_ledger("ledger.db") as ledger:
        ledger.append(escalated())
    first, second = blocks("python")
    exec(first, {})
    assert capsys.readouterr().out.splitlines() == [
        "efficient 1 5.0507e-05 USD",
        "frontier 1 5.05e-05 USD",
        "minimal 1 0.0 USD",
        "s-1 threshold:step@abcd escalation 101007",
    ]
    exec(second, {})
    assert capsys.readouterr().out.strip() == trace_id_of("my-trajectory")


def test_the_sql_runs(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "ledger.db") as ledger:
        ledger.append(escalated())
    (query,) = blocks("sql")
    plain = sqlite3.connect(tmp_path / "ledger.db")
    assert plain.execute(query).fetchall() == [("edit", "frontier", 1, 0.000101007)]
    plain.close()
