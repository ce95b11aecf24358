from __future__ import annotations

import re
import sys
from html.parser import HTMLParser

import msgspec
import pytest
from replay_records import NOON, OPTIONS, WORLD, four_steps, recorded
from rich.console import Console

from agentrouter.errors import MissingExtraError
from agentrouter.lab.intervals import Interval
from agentrouter.lab.replay import replay
from agentrouter.lab.replay_report import ReplayReport
from agentrouter.lab.report_html import render
from agentrouter.lab.report_tables import replay_tables
from agentrouter.lab.report_text import clean, percent, span, tokens, usd
from agentrouter.lab.trace import Problem, RecordedStep, TraceReport
from agentrouter.policies import build
from agentrouter.types import Usage

HOSTILE = (
    "</script><script>alert(1)</script><img src=http://evil.example/x onerror=y>\"' $\\frac$ "
    "\x1b[31mred\x1b[0m\udc80\u202e"
)


def report(steps: list[RecordedStep] | None = None, policy: str = "roles", command: str = "") -> ReplayReport:
    trace = TraceReport()
    trace.files, trace.format, trace.lines = ["traces/run.jsonl"], "otlp", 6
    trace.bad(Problem("traces/run.jsonl", 3, "attributes[3].value", "expected an integer, got 'twelve'"))
    trace.lacks.update({"cost": 4})
    trace.skipped.update({"tool": 2})
    options = msgspec.structs.replace(OPTIONS, command=command)
    steps = (
        [*four_steps(), recorded("edit", trajectory="u", usage=Usage(fresh_input=900, output=10))]
        if steps is None
        else steps
    )
    return replay(steps, build(policy), WORLD, options, trace)


class _Page(HTMLParser):
    """Collects tags, attributes and visible text, and checks that tags nest."""

    VOID = frozenset({"meta", "br", "img", "link", "input", "hr", "use", "path"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def names(self) -> set[str]:
        return {tag for tag, _ in self.tags}


def check_self_contained(page: str) -> _Page:
    parsed = _Page(page)
    assert parsed.open == []
    assert not parsed.names() & {"script", "link", "iframe", "object", "embed", "img", "base", "form"}
    for tag, attributes in parsed.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "xlink:href", "action", "data"):
                assert (value or "").startswith("#"), (tag, name, value)
    assert not re.search(r"https?://", page)
    assert "@import" not in page
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))
    return parsed


def test_the_page_is_one_file_without_scripts_and_requests() -> None:
    parsed = check_self_contained(render(report()))

    policies = [a["content"] for tag, a in parsed.tags if tag == "meta" and a.get("http-equiv")]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_the_page_shows_the_figures_of_the_report() -> None:
    data = report(command="agentrouter replay traces/run.jsonl --policy roles")
    text = _Page(render(data)).text

    for bill in data.bills:
        assert bill.label in text
    # 27,875,000 + 900 x 5,000 + 10 x 25,000 recorded, to the micro-dollar.
    assert "$0.032625" in text
    assert "agentrouter replay traces/run.jsonl --policy roles" in text
    assert "traces/run.jsonl:3" in text
    assert "expected an integer, got 'twelve'" in text
    assert "no cost (recorded usage is priced from the list)" in text
    for assumption in data.assumptions:
        assert assumption in text


def test_every_plot_has_words_and_every_id_is_its_own() -> None:
    page = render(report())
    parsed = _Page(page)
    described = [a.get("aria-label") or "" for tag, a in parsed.tags if a.get("role") == "img"]

    assert len(described) == 4
    assert all((len(words) > 40 and "$" in words) or "steps" in words for words in described)
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', page))
    assert used <= set(ids)


def test_plots_take_the_pages_ink_so_that_they_are_seen_in_the_dark() -> None:
    page = render(report())

    assert "currentColor" in page
    assert "#010203" not in page
    assert "prefers-color-scheme:dark" in page
    assert "@media print" in page


def test_hostile_names_are_text_and_nothing_else() -> None:
    steps = [
        recorded(HOSTILE, trajectory=HOSTILE + "t", model="example/frontier", usage=Usage(fresh_input=5, output=1))
    ]
    steps.append(recorded("plan", trajectory="x", model=HOSTILE, usage=Usage(fresh_input=5, output=1)))
    data = report(steps, command=HOSTILE)
    page = render(data, title=HOSTILE)
    parsed = _Page(page)

    assert parsed.open == []
    assert not parsed.names() & {"script", "img"}
    assert "alert(1)" in parsed.text
    assert "\x1b" not in page
    assert "\u202e" not in page
    page.encode("utf-8")


def test_a_terminal_gets_no_sequences_and_no_markup_of_a_trace() -> None:
    steps = [recorded("[bold red]x[/] \x1b]8;;http://e\x07", usage=Usage(fresh_input=5, output=1))]
    console = Console(width=160, color_system=None)
    with console.capture() as capture:
        console.print(replay_tables(report(steps)))
    shown = capture.get()

    assert "[bold red]x[/]" in shown
    assert "\x1b" not in shown


def test_table_and_page_quote_the_same_headline() -> None:
    data = report()
    console = Console(width=1_000, color_system=None)
    with console.capture() as capture:
        console.print(replay_tables(data))
    first = capture.get().splitlines()[0].strip()

    # 21,470,000 + the edit on mid, cold: 900 x 1,250 + 10 x 5,000 = 22,645,000.
    assert first.startswith("Policy roles costs $0.0226 where the recorded bill is $0.0326: 30.6\u202f% less")
    assert first in " ".join(_Page(render(data)).text.split("\n"))


@pytest.mark.parametrize("policy", ["recorded", "fixed:frontier"])
def test_pages_of_unchanged_and_empty_traces_are_whole(policy: str) -> None:
    check_self_contained(render(report(policy=policy)))
    empty = check_self_contained(render(report([], policy)))

    assert "nothing to compare" in empty.text


def test_incomplete_totals_are_said_at_the_top() -> None:
    steps = [*four_steps(), recorded(model="nobody-knows-me", usage=Usage(fresh_input=5), trajectory="n")]
    text = _Page(render(report(steps))).text

    assert text.index("Incomplete.") < text.index("Before and after")
    assert "1 of 5 steps are in no total" in text
    assert "nobody-knows-me" in text


def test_many_roles_and_long_trajectories_still_fit() -> None:
    steps = [
        recorded(f"role {index % 90}", index=index, usage=Usage(fresh_input=100, output=1), at=NOON + index)
        for index in range(260)
    ]
    data = report(steps)
    text = check_self_contained(render(data)).text

    assert len(data.curve) == 201
    assert data.curve[-1].steps == 60
    assert "78 others" in text
    assert "the 60 dearest of 90" in text


def test_the_same_report_gives_the_same_bytes() -> None:
    data = report()
    assert render(data) == render(data)


def test_without_matplotlib_the_page_names_the_extra_and_the_tables_still_work(monkeypatch: pytest.MonkeyPatch) -> None:
    data = report()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"agentrouter\[lab\]"):
        render(data)
    assert replay_tables(data) is not None


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (usd(0), "$0"),
        (usd(1_234_567_890_000), "$1,234.57"),
        (usd(-2_500_000_000), "\u2212$2.50"),
        (usd(12_345_678), "$0.0123"),
        (usd(123_456), "$0.000123"),
        (usd(7), "$0.000000007"),
        (percent(0.12345), "12.3\u202f%"),
        (percent(-0.0001), "0.0\u202f%"),
        (percent(-1.5, 0), "\u2212150\u202f%"),
        (percent(None), "\u2013"),
        (span(Interval(-0.1, 0.25)), "[\u221210.0\u202f%, 25.0\u202f%]"),
        (span(None), "no interval (one task)"),
        (tokens(9_999), "9,999"),
        (tokens(12_345), "12.3k"),
        (tokens(4_560_000), "4.56M"),
        (clean("a\tb\n c \x1b[1mz"), "a b c z"),
        (clean("x" * 500), "x" * 119 + "\u2026"),
        (clean("\ud800\u200b"), "\ufffd\ufffd"),
    ],
)
def test_figures_and_names_read_well(shown: str, expected: str) -> None:
    assert shown == expected
