"""The dataset card as a page.

Law: says nothing that the card does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from agentrouter.learn.card import Card
from agentrouter.types import Tier


def markdown(card: Card) -> str:
    """Return the card as a page."""
    kind = "sources marked for training what ships" if card.licensed_only else "all sources that may train"
    lines = [
        "# Training table",
        "",
        f"{card.rows:,} steps ({card.with_tier:,} with an outcome of some tier) of {card.groups:,} task instances; "
        f"{kind}, by the marks of {card.licences_as_of}. Builder {card.builder}, table {card.schema}, features "
        f"{card.encoding}, seed {card.seed}.",
        *([] if card.table is None else ["", f"`{card.table.name}`: sha256 `{card.table.sha256}`"]),
        *("", "## Beware", "", *[f"- {warning}" for warning in card.warnings]),
        *_grid("Sources", ("source", "licence", "use", "steps", "with a tier", "groups", "later", "left out", "note"), [
            (one.source, one.licence, one.use, one.rows, one.with_tier, one.groups, one.later_steps,
             _listed(one.left_out), one.note) for one in card.sources]),
        "",
        f"Not taken: {_listed(card.refused) or 'none'}.",
        *_grid("What was judged", ("source", "category", "level", "steps", *(tier.label for tier in Tier)), [
            (one.source, one.category, one.level, one.rows, *one.measured) for one in card.cells]),
        *_grid("Tiers", ("tier", "steps", "outcomes", "mean success", "cheapest sufficient", "at most", "tolerance"), [
            (one.tier, one.rows, one.outcomes, "-" if one.mean_success is None else f"{one.mean_success:.3f}",
             one.cheapest_sufficient, one.at_most, f"{one.tolerance:.2f}") for one in card.tiers]),
        "",
        f"Pairs of measured tiers on a step: {card.pairs:,}; in {card.violations:,} of them, on "
        f"{card.rows_with_violations:,} steps, the cheaper did better. Tiers may have more outcomes than steps.",
        *_grid("Runs judged as a whole", ("source", "runs", "steps", "failed", "implied", "P(step fails) by role"), [
            (one.source, one.runs, one.steps, f"{one.run_failure:.3f}", f"{one.implied_run_failure:.3f}",
             ", ".join(f"{role} {rate:.3f}" for role, rate in one.step_failure.items())) for one in card.runs]),
        *_grid("Splits", ("split", "steps", "units", "groups"), [
            (one.split, one.rows, one.units, one.groups) for one in card.splits]),
        "",
        f"Groups joined because they open with the same words: {card.joined_groups:,}; openings too common to join: "
        f"{card.templates:,}. In two splits: {_listed(card.leaks)}.",
        *_grid("Sources left out in turn", ("source", "fit", "choose", "measure", "withheld"), [
            (one.source, one.fit, one.choose, one.measure, one.withheld) for one in card.folds]),
        *_grid("Files", ("file", "rows", "bytes", "sha256"), [
            (one.name, one.rows, one.bytes, f"`{one.sha256}`")
            for one in (*card.files, card.model_tiers, *([] if card.overlap is None else [card.overlap]))]),
        "",
        f"Models without a tier: {', '.join(card.without_tier) or 'none'}.",
        f"Models left out for another calling mode of the same model: {', '.join(card.modes) or 'none'}.",
        f"Constant columns: {', '.join(card.constant_columns) or 'none'}.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _grid(title: str, heads: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> list[str]:
    body = [f"| {' | '.join(f'{one:,}' if isinstance(one, int) else str(one) for one in row)} |" for row in rows]
    if not body:
        return []
    return ["", f"## {title}", "", f"| {' | '.join(heads)} |", "|" + "---|" * len(heads), *body]


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
