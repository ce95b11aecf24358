"""Takes credentials out of text, before the text goes into a ledger row or a span.

Law: pure; nothing is ever put back, and redacting twice changes nothing more. The shapes are the published ones of the
vendors' keys (prefix and alphabet), plus whatever stands where an HTTP header or a URL carries a credential. Ordinary
text stays as it is: a bare prefix in a word (``task-``, ``sk-learn``) is not a key.

Every pattern has bounded or disjoint repetitions, so the time is linear in the text.
Must not import any other module of the package.
"""

from __future__ import annotations

import hashlib
import math
import re
from typing import Any

MARK = "[redacted]"
"""What stands where a credential stood."""

NOT_A_NUMBER = -1.0
"""What stands where a number was NaN or infinite, which JSON cannot hold; no probability or duration is negative."""

MAX_ID_CHARS = 256
"""Ids longer than this are stored as their hash."""

# A key starts where no letter or digit stands before it, or right after an escape of JSON in JSON (``\nsk-...``).
_START = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrtbf]))"
_KEYS = "|".join(
    (
        r"sk-ant-[\w-]{8,}",
        r"sk-(?=[\w-]{0,40}[0-9A-Z]|[\w-]{20})[\w-]{8,}",
        r"AIza[\w-]{20,}",
        r"xai-\w{16,}",
        r"gsk_\w{16,}",
        r"gh[pousr]_\w{16,}",
        r"github_pat_\w{16,}",
        r"glpat-[\w-]{16,}",
        r"hf_[A-Za-z0-9]{20,}",
        r"pplx-[A-Za-z0-9]{20,}",
        r"xox[abeprs]-[\w-]{10,}",
        r"A[KS]IA[A-Z0-9]{16}",
        r"eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*){0,3}",  # JSON Web Tokens: three parts signed, five encrypted
    )
)
_HEADERS = r"(?:proxy-)?authorization|(?:x-)?api-key|x-goog-api-key|x-amz-security-token"
_SCHEMES = r"bearer|basic|token|digest|aws4-hmac-sha256"
_QUOTE = r"(?:\\*[\"'])?"
# Between a header's name and value: a colon, or in the repr() of pairs a comma between quotes.
_COLON = rf"(?:{_QUOTE}\s{{0,4}}:\s{{0,4}}b?{_QUOTE}|[\"']\s{{0,4}},\s{{0,4}}b?[\"'])"
_COOKIE = r"[\w.-]{1,100}=[^\s;\"'\\]*"

# Order matters: whole blocks first, then places that hold credentials, then shapes of keys.
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # A cut key has no END line: all that follows goes.
    (
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)",
            re.DOTALL,
        ),
        MARK,
    ),
    # Header with a value, also as JSON or repr() of a dict or of pairs: "authorization": "Bearer ...".
    (
        re.compile(
            rf"(?i)\b((?:{_HEADERS}){_COLON}(?:(?:{_SCHEMES})\s{{1,4}})?)"
            rf"(?!(?:{_SCHEMES})\s)[^\s\"'\\,{{}}\[\]()]{{6,}}"
        ),
        rf"\1{MARK}",
    ),
    (re.compile(rf"(?i)\b((?:set-)?cookie{_COLON}){_COOKIE}(?:;\s?{_COOKIE})*"), rf"\1{MARK}"),
    (re.compile(r"(?i)\b(bearer\s{1,4})(?=[\w.~+/=-]{0,200}[0-9_~+/=]|[\w-]{20})[\w.~+/=-]{8,}"), rf"\1{MARK}"),
    # Settings and query parameters named after a secret: OPENAI_API_KEY=..., "password": "...", ?access_token=...
    (
        re.compile(
            r"(?i)(api_?key|secret(?:_?key)?|access_?token|auth_?token|password|passwd)"
            rf"({_QUOTE}\s{{0,4}}[:=]\s{{0,4}}{_QUOTE})(?=[\w./+=~-]{{0,64}}[0-9])[\w./+=~-]{{12,}}"
        ),
        rf"\1\2{MARK}",
    ),
    # https://user:password@host
    (re.compile(r"(?<=://)[^\s/:@\"'?#]{0,256}:[^\s/\"'?#]{1,512}@"), f"{MARK}@"),
    (re.compile(rf"{_START}(?:{_KEYS})", re.ASCII), MARK),
)

# Cheap scans decide for most texts that there is nothing to do (every pattern above needs one of these). Substring
# search is some twenty times as fast as one regular expression over all of them.
_TRIGGERS = (
    *("sk-", "aiza", "xai-", "gsk_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "hf_", "pplx-"),
    *("xox", "akia", "asia", "eyj", "private key", "://", "bearer", "authorization", "apikey", "api-key", "api_key"),
    *("cookie", "access_token", "accesstoken", "auth_token", "authtoken", "x-amz-security", "secret", "passw"),
)


def looks_harmless(text: str) -> bool:
    """Whether nothing in ``text`` can be a credential; also right for values encoded as JSON."""
    lowered = text.lower()
    return not any(trigger in lowered for trigger in _TRIGGERS)


def redact(text: str) -> str:
    """Return ``text`` with every credential replaced by ``[redacted]``; any other text is returned unchanged.

    Covered: vendor keys (``sk-``, ``sk-ant-``, ``AIza``, ``xai-``, ``gsk_``, ``ghp_`` and its family, ``github_pat_``,
    ``AKIA``, ...), bearer tokens, values of Authorization, API key and cookie headers, JSON Web Tokens, PEM private
    keys, user and password in URLs, and values of settings named after a secret.
    """
    if looks_harmless(text):
        return text
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def storable(text: str) -> str:
    """Return ``text`` redacted and free of lone surrogates, which no UTF-8 store takes (they become ``?``)."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    return redact(text)


def storable_id(text: str) -> str:
    """Return an identifier that is safe to store: as given, or its hash.

    An id of more than 256 characters, with control characters, or with a credential in it becomes
    ``hash-<32 hex digits>``: still the same for the same id and another for another id, which a redacted text is not.
    """
    if len(text) <= MAX_ID_CHARS and text.isprintable() and redact(text) == text:
        return text
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, person=b"agentrouter-id")
    return f"hash-{digest.hexdigest()}"


def storable_tree(value: Any) -> Any:
    """Return plain data (what ``msgspec.to_builtins`` gives) with every string in it redacted, keys included.

    Numbers that are not finite become -1.
    """
    match value:
        case float():
            return value if math.isfinite(value) else NOT_A_NUMBER
        case str():
            return storable(value)
        case dict():
            return {storable_tree(key): storable_tree(item) for key, item in value.items()}
        case list() | tuple():
            return [storable_tree(item) for item in value]
        case _:
            return value
