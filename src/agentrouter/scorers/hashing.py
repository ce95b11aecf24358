"""Text as hashed words and word pairs: the same vector in training and in service, without a stored vocabulary.

Law: pure, no state, one code path for both sides; a change of anything here is a new ``TEXT_ENCODING``. Words of the
newest instruction and of the newest observation are kept apart. Of long texts head and tail count, since few-shot
prompts share their heads.
Source: feature hashing, Weinberger et al. 2009 (0902.2206), unsigned; sublinear counts and length 1 as in Salton and
Buckley 1988.
"""

from __future__ import annotations

import re
import zlib

import numpy as np
import numpy.typing as npt

from agentrouter.types import StepFeatures

TEXT_ENCODING = "hashed-words/1"
BUCKETS = 1 << 14
HEAD_WORDS, TAIL_WORDS = 240, 120
"""Words taken from the start and from the end of the instruction."""
SEEN_HEAD_WORDS, SEEN_TAIL_WORDS = 90, 60
"""The same for the observation."""
SEEN_SALT = 0x5BD1E995
PAIR_FACTOR = np.uint32(0x9E3779B1)

Indices = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]

_WORD = re.compile(r"[^\W\d]+|\d+|[^\w\s]")


def words(text: str, head: int, tail: int) -> list[str]:
    """Return the words, numbers and marks at the start and the end of a text, lower case; a number is its length."""
    found = _WORD.findall(text.lower())
    if len(found) > head + tail:
        found = found[:head] + found[-tail:]
    return [f"#{len(word)}" if word[0].isdecimal() else word for word in found]


def hashed(features: StepFeatures) -> tuple[Indices, Values]:
    """Return the buckets that a step's texts fall into, ascending, and 1 + ln(count) for each."""
    texts = features.semantics
    told = words(texts.instruction, HEAD_WORDS, TAIL_WORDS) if texts.instruction else []
    seen = words(texts.observation, SEEN_HEAD_WORDS, SEEN_TAIL_WORDS) if texts.observation else []
    parts = [_buckets(told, 0)] if told else []
    if seen:
        parts.append(_buckets(seen, SEEN_SALT))
    if not parts:
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    place, count = np.unique(np.concatenate(parts), return_counts=True)
    return place.astype(np.int64), 1.0 + np.log(count)


def unit(place: Indices, value: Values, weight: npt.NDArray[np.floating]) -> Values:
    """Return the values times the inverse document frequencies of their buckets, scaled to length 1."""
    scaled: Values = value * weight[place]
    length = float(np.sqrt(scaled @ scaled))
    return scaled / length if length else scaled


def _buckets(found: list[str], salt: int) -> npt.NDArray[np.uint32]:
    single = np.array([zlib.crc32(word.encode("utf-8", "surrogatepass")) ^ salt for word in found], dtype=np.uint32)
    pairs = (single[:-1] * PAIR_FACTOR + single[1:]) >> np.uint32(9)
    return np.concatenate([single, pairs]) & np.uint32(BUCKETS - 1)
