"""The card that lies beside each fitted rival: data, licences, limits, where the figures are."""

from __future__ import annotations

from collections import Counter

from agentrouter.learn.rival_rows import CLEAN_SOURCES, Rows

WHAT = {
    "role-table": "Mean outcomes by role, kind of text and prompt size, pooled with the wider cell.",
    "tfidf": "Hashed words and word pairs of the newest instruction and observation, TF-IDF, one logistic head a tier.",
    "knn": "Mean outcome of the 40 nearest of 4,000 steps; TF-IDF through a random sign projection, no encoder.",
    "gbdt": "Boosted trees over the numeric features of a step, one ensemble a tier; reads no words.",
}


def card_of(scorer: str, rows: Rows, seed: int) -> str:
    """Return the text of ``card.md``."""
    counts = Counter(rows.sources)
    lines = [
        f"| {name} | {CLEAN_SOURCES.get(name, 'as its owner says')} | {n:,} |" for name, n in sorted(counts.items())
    ]
    return "\n".join(
        [
            f"# {scorer}",
            "",
            WHAT[scorer],
            "",
            "Predicts, before the call, P(step handled acceptably) for the tiers minimal, efficient, mid, frontier.",
            "",
            "## Data",
            "",
            "| source | licence | rows |",
            "|---|---|---|",
            *lines,
            "",
            f"Seed {seed}; left out: {rows.left_out}. Questions that RouteLLM's evaluation sets hold are left out.",
            "15 % of the groups were kept for calibration.",
            "",
            "## Limits",
            "",
            "Tiers are price classes of the models in the data (2023-2026), not of yours. Most rows are first steps of",
            "public benchmarks: little is known of steps in the middle of a run. A verdict on a whole run counts a",
            "quarter. On kinds of steps that are not in the data see the left-out sources in docs/results.md.",
            "",
            "Figures with intervals: docs/results.md.",
            "",
        ]
    )
