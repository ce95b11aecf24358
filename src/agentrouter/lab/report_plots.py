"""The plots of a report as inline SVG.

Law: drawn with matplotlib (extra ``lab``) without its global state; the same report gives the same bytes. Lines and
letters take the colour of the page's text, so that one file serves light and dark. Nothing refers to anything outside.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agentrouter.errors import MissingExtraError
from agentrouter.lab.replay_report import TIER_COLUMNS, GroupRow, ReplayReport
from agentrouter.lab.report_text import clean, usd
from agentrouter.types import NUSD_PER_USD

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RECORDED, POLICY, FRONTIER = "#767676", "#2f7fd6", "#c2620c"
TIER_COLOURS = ("#1b8a6b", "#2f7fd6", "#b8740b", "#b23a48", "#767676")
"""Minimal to frontier, then unknown; each at least 3:1 against white and against the dark page."""

MOST_ROLES = 12

_BILL_GROUPS = (
    ("as billed", (("recorded", "recorded", RECORDED), ("policy", "policy", POLICY))),
    (
        "caches simulated",
        (
            ("frontier_cached", "frontier only", FRONTIER),
            ("recorded_cached", "recorded models", RECORDED),
            ("policy_cached", "policy", POLICY),
        ),
    ),
    (
        "no caches",
        (
            ("frontier_uncached", "frontier only", FRONTIER),
            ("recorded_uncached", "recorded models", RECORDED),
            ("policy_uncached", "policy", POLICY),
        ),
    ),
)
"""Accounting -> (bill, label, colour)."""

_INK = "#010203"
"""Stands for the page's text colour while drawing."""
_WIDTH_INCHES = 8.6
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "agentrouter",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "grid.color": _INK,
    "grid.alpha": 0.15,
    "axes.axisbelow": True,
}


def bills_plot(report: ReplayReport) -> str:
    """Return before and after under each accounting, as horizontal bars; a whisker reaches to the pessimistic end."""
    worst = {saving.policy: saving.pessimistic_nusd for saving in report.savings}

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        place, ticks, labels = 0.0, [], []
        for title, bars in _BILL_GROUPS:
            for name, label, colour in bars:
                value, end = report.bill(name), worst.get(name, 0)
                axes.barh(place, value / NUSD_PER_USD, height=0.72, color=colour)
                reach = max(value, end)
                if end > value:
                    axes.plot([value / NUSD_PER_USD, end / NUSD_PER_USD], [place, place], color=_INK, linewidth=1.4)
                    axes.plot([end / NUSD_PER_USD], [place], marker="|", color=_INK, markersize=11)
                text = usd(value) + (f" to {usd(end)}" if end > value else "")
                axes.annotate(
                    text, (reach / NUSD_PER_USD, place), xytext=(6, 0), textcoords="offset points", va="center"
                )
                ticks.append(place)
                labels.append(f"{label}, {title}")
                place += 1.0
            place += 0.6
        axes.set_yticks(ticks, labels)
        axes.invert_yaxis()
        axes.margins(x=0.0)
        top = max([report.bill(name) for _, bars in _BILL_GROUPS for name, _, _ in bars] + list(worst.values())) or 1
        axes.set_xlim(0, 1.34 * top / NUSD_PER_USD)
        axes.set_xlabel("USD over all priced steps; the whisker reaches to the pessimistic end")
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)

    return _svg("bills", 3.9, draw)


def curve_plot(report: ReplayReport) -> str:
    """Return the mean cumulative cost per trajectory by step number."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        steps = [point.index + 1 for point in report.curve]
        marker = "o" if len(steps) < 12 else ""
        lines = (
            ("frontier only, with caches", [point.frontier_nusd for point in report.curve], FRONTIER, ":"),
            ("recorded, as billed", [point.recorded_nusd for point in report.curve], RECORDED, "-"),
            (f"policy {clean(report.policy, 40)}, as billed", [p.policy_nusd for p in report.curve], POLICY, "--"),
        )
        for label, values, colour, style in lines:
            axes.plot(
                steps, [v / NUSD_PER_USD for v in values], style, label=label, color=colour, linewidth=2, marker=marker
            )
        axes.set_xlabel("step number within the trajectory")
        axes.set_ylabel("mean USD per trajectory so far")
        axes.set_ylim(bottom=0)
        axes.set_xlim(0.5, max(steps) + 0.5)
        _whole_ticks(axes)
        axes.grid()
        axes.legend(loc="upper left")

    return _svg("curve", 3.5, draw)


def tiers_plot(report: ReplayReport) -> str:
    """Return the share of each tier by step number, recorded beside policy."""

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        steps = [point.index + 1 for point in report.tiers]
        for axes, title, rows in (
            (left, "recorded", [point.recorded for point in report.tiers]),
            (right, f"policy {clean(report.policy, 30)}", [point.policy for point in report.tiers]),
        ):
            sums = [sum(row) or 1 for row in rows]
            floor = [0.0] * len(rows)
            for tier, (label, colour) in enumerate(zip(TIER_COLUMNS, TIER_COLOURS, strict=True)):
                shares = [100.0 * row[tier] / total for row, total in zip(rows, sums, strict=True)]
                if any(shares) or (tier < 4 and axes is left):
                    axes.bar(steps, shares, bottom=floor, width=0.9, color=colour, label=label)
                floor = [low + share for low, share in zip(floor, shares, strict=True)]
            axes.set_title(title, fontsize=10)
            axes.set_xlabel("step number")
            axes.set_ylim(0, 100)
            axes.margins(x=0.01)
            _whole_ticks(axes)
        left.set_ylabel("share of steps, %")
        handles = dict(zip(*reversed(left.get_legend_handles_labels()), strict=True))
        handles |= dict(zip(*reversed(right.get_legend_handles_labels()), strict=True))
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))

    return _svg("tiers", 3.5, draw)


def roles_plot(rows: tuple[GroupRow, ...], policy: str) -> str:
    """Return spend by role before and after, the dearest first; roles beyond ``MOST_ROLES`` are added up."""
    shown = [(clean(row.key, 28) or "(none)", row.recorded_nusd, row.policy_nusd) for row in rows[:MOST_ROLES]]
    rest = rows[MOST_ROLES:]
    if rest:
        label = f"{len(rest)} others"
        shown.append((label, sum(row.recorded_nusd for row in rest), sum(row.policy_nusd for row in rest)))

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for place, (_, before, after) in enumerate(shown):
            for offset, value, colour, label in (
                (-0.2, before, RECORDED, "recorded, as billed"),
                (0.2, after, POLICY, f"policy {clean(policy, 40)}, as billed"),
            ):
                axes.barh(
                    place + offset,
                    value / NUSD_PER_USD,
                    height=0.36,
                    color=colour,
                    label=label if place == 0 else "_",
                )
                axes.annotate(
                    usd(value),
                    (value / NUSD_PER_USD, place + offset),
                    xytext=(5, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=8,
                )
        axes.set_yticks(range(len(shown)), [label for label, _, _ in shown])
        axes.invert_yaxis()
        top = max([max(before, after) for _, before, after in shown], default=0) or 1
        axes.set_xlim(0, 1.18 * top / NUSD_PER_USD)
        axes.set_xlabel("USD")
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        axes.legend(loc="lower right")

    return _svg("roles", 1.2 + 0.42 * max(2, len(shown)), draw)


def _whole_ticks(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _svg(name: str, height: float, draw: Callable[[Figure], None]) -> str:
    """Draw on a fresh figure and return SVG fit for an HTML page."""
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "lab") from None
    out = io.StringIO()
    with rc_context(_STYLE), warnings.catch_warnings():
        # A role in a script that the measuring font lacks is still text in the SVG; only its width is a guess.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(_WIDTH_INCHES, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inlined(out.getvalue(), name)


def _inlined(svg: str, name: str) -> str:
    """Strip what an SVG file needs and a page does not; make its ids its own and its ink the page's."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    head, _, rest = svg.partition(">")
    head = re.sub(r'\s(?:xmlns(?::\w+)?|width|height|version)="[^"]*"', "", head)
    head = head.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1)
    svg = f"{head}>{rest}"
    svg = re.sub(r'(\sid=")', rf"\g<1>{name}-", svg)
    svg = re.sub(r"(url\(#|href=\"#)", rf"\g<1>{name}-", svg)
    return svg.replace("xlink:href", "href").replace(_INK, "currentColor").strip()
