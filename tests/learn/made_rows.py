"""Steps with outcomes of known make: what the tests of the fits learn from."""

from __future__ import annotations

import numpy as np

from agentrouter.features import extract
from agentrouter.learn.rival_inputs import Inputs, encoded
from agentrouter.types import History, Message, Step, StepFeatures, TokenCounts

EASY, HARD = "Reformat this list of names as JSON.", "Prove that the series converges and bound its remainder."


def made_step(number: int, *, hard: bool, role: str = "unknown") -> tuple[Step, StepFeatures]:
    # Numbers count by their length only, so a word makes each step its own.
    word = "".join(chr(ord("a") + int(digit)) for digit in str(number))
    text = f"{HARD if hard else EASY} Item {word}, please."
    size = 900 + number if hard else 60 + number
    step = Step(
        id=f"s{number}",
        trajectory_id=f"t{number}",
        role=role,
        messages=(Message(role="user", text=text),),
        tokens=TokenCounts(input=size, output=100),
    )
    return step, extract(step, History())


def made_inputs(n: int = 400, seed: int = 0) -> tuple[Inputs, list[tuple[Step, StepFeatures]]]:
    """Easy steps succeed on every tier; hard ones with chances .1, .3, .6, .9. One in five tiers is not measured."""
    rng = np.random.default_rng(seed)
    hard = rng.random(n) < 0.5
    steps = [made_step(i, hard=bool(hard[i])) for i in range(n)]
    chance = np.where(hard[:, None], [0.1, 0.3, 0.6, 0.9], [0.93, 0.94, 0.95, 0.96])
    target = (rng.random((n, 4)) < chance).astype(np.float64)
    target[rng.random((n, 4)) < 0.2] = np.nan
    keys, words, numeric = encoded(steps)
    inputs = Inputs(
        keys=keys,
        words=words,
        numeric=numeric,
        target=target,
        weight=np.where(np.isnan(target), 0.0, 1.0),
        groups=[f"g{i // 2}" for i in range(n)],
        sources=["easy" if not h else "hard" for h in hard],
    )
    return inputs, steps
