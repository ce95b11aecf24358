from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrouter.ledger.redact import MARK, redact, storable, storable_id, storable_tree

SECRET = "CANARY0x7f3A9q8Wz1"  # what must never survive, in the alphabet of all shapes below
PEM_BODY = "MIIEvCANARY0x7f3A9q8Wz1AAAA\nBBBBCCCC"

CREDENTIALS = {
    "openai": f"sk-{SECRET}",
    "openai project": f"sk-proj-{SECRET}_x-y",
    "openrouter": f"sk-or-v1-{SECRET}",
    "anthropic": f"sk-ant-api03-{SECRET}",
    "google": f"AIzaSy{SECRET}abcdefghi",
    "xai": f"xai-{SECRET}",
    "groq": f"gsk_{SECRET}",
    "github": f"ghp_{SECRET}",
    "github server": f"ghs_{SECRET}",
    "github fine-grained": f"github_pat_11AB_{SECRET}",
    "gitlab": f"glpat-{SECRET}",
    "huggingface": f"hf_{SECRET}abcd",
    "slack": f"xoxb-{SECRET}",
    "bearer": f"Bearer {SECRET}",
    "bearer lower": f"bearer {SECRET}==",
    "jwt": f"eyJhbGciOiJIUzI1NiJ9.{SECRET}.c2lnbmF0dXJl",
    "jwe": f"eyJhbGciOiJSU0EifQ.{SECRET}.aXY.Y2lwaGVy.dGFn",
    "authorization": f"Authorization: {SECRET}",
    "authorization basic": f"authorization: Basic {SECRET}==",
    "authorization json": f'"Authorization": "Token {SECRET}"',
    "authorization json in json": f'\\"authorization\\": \\"Bearer {SECRET}\\"',
    "authorization repr of bytes": f"(b'authorization', b'Bearer {SECRET}')",
    "x-api-key": f"x-api-key: {SECRET}",
    "x-api-key dict": f"{{'x-api-key': '{SECRET}'}}",
    "api-key azure": f"api-key:{SECRET}",
    "cookie": f"Cookie: session={SECRET}",
    "second cookie": f"set-cookie: theme=dark; session={SECRET}; Path=/",
    "environment": f"OPENAI_API_KEY={SECRET}",
    "query": f"?api_key={SECRET}&alt=sse",
    "password": f'password = "{SECRET}"',
    "url": f"https://user:{SECRET}@host.example/path",
    "url at sign": f"postgres://user:p@{SECRET}@db:5432/x",
    "pem": f"-----BEGIN PRIVATE KEY-----\n{PEM_BODY}\n-----END PRIVATE KEY-----",
    "pem rsa cut": f"-----BEGIN RSA PRIVATE KEY-----\n{PEM_BODY}",
    "pem escaped": "-----BEGIN PRIVATE KEY-----\\n" + PEM_BODY.replace("\n", "\\n") + "\\n-----END PRIVATE KEY-----",
}
AWS = "AKIAIOSFODNN7CANARY1"

ORDINARY = [
    "risk-averse task-0123456789abcdef0123 disk-usage-report-2026-11-22-final",
    "pip install sk-learn-contrib; the sk-learn docs",
    "The bearer of this letter, a bearer token, bearer authentication.",
    "see https://example.com:8080/a/b?x=1#y and mail a@b.example, ssh git@github.com:org/repo",
    "http://host:80/path@v2",
    "password: the field is required",
    'properties: {"authorization": {"type": "string"}, "cookie": {"type": "null"}}',
    "api_key: str | None = None",
    "secret santa; no secrets; token bucket; max_tokens: 4096, input_tokens=123456789012",
    "AKIA is a prefix; AIza too; eyJ starts JSON",
    "def f(x): return x  # private key of the dict",
    "ghp_short gsk_x xai-model-2 hf_hub",
    "",
    "Ünïcödé 日本語 \N{PILE OF POO}",
]


@pytest.mark.parametrize("text", CREDENTIALS.values(), ids=CREDENTIALS.keys())
def test_no_credential_survives(text: str) -> None:
    left = redact(text)
    assert SECRET not in left
    assert MARK in left


def test_aws_key() -> None:
    assert redact(f"key {AWS}.") == f"key {MARK}."


_MARKS = st.sampled_from([*" \n\t\"'`(){}[]<>,;=|/", "ü", "日", "\\n"])
_AROUND = st.lists(_MARKS, max_size=6).map("".join)
_WORDS = st.lists(st.sampled_from(["the", "key is", "error", "tokens", "https://a.b/c", "\n", "{}"]), max_size=5)


@given(st.sampled_from(sorted(CREDENTIALS.values())), _WORDS, _AROUND, _AROUND, _WORDS)
def test_no_credential_survives_in_any_surroundings(
    credential: str, before: list[str], left: str, right: str, after: list[str]
) -> None:
    text = " ".join(before) + left + " " + credential + " " + right + " ".join(after)
    assert SECRET not in redact(text)
    assert SECRET not in redact(json.dumps(text))  # as text inside a tool call's arguments
    assert SECRET not in json.dumps(storable_tree({"a": [{"b": text}], text: 1}))


@given(st.sampled_from(sorted(k for k in CREDENTIALS.values() if k[0] in "sgxAhe" and " " not in k)), _AROUND, _AROUND)
def test_a_key_is_found_whatever_mark_stands_beside_it(key: str, left: str, right: str) -> None:
    assert SECRET not in redact(left + key + right)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_unchanged(text: str) -> None:
    assert redact(text) == text


_SAFE_WORDS = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz ABCDEFG.,!?\n()[]{}0123456789"), max_size=200)


@given(_SAFE_WORDS)
def test_prose_and_numbers_are_unchanged(text: str) -> None:
    assert redact(text) == text


@given(st.one_of(st.text(), st.sampled_from(sorted(CREDENTIALS.values())), _SAFE_WORDS))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_what_stands_around_a_credential_stays() -> None:
    assert redact(f"curl -H 'x-api-key: {SECRET}' https://u:{SECRET}@host/p") == (
        f"curl -H 'x-api-key: {MARK}' https://{MARK}@host/p"
    )


@pytest.mark.parametrize(
    "hostile",
    [
        "sk-" * 100_000,
        "a" * 400_000,
        "eyJ" * 100_000,
        "://" * 100_000,
        "authorization:" * 30_000,
        "cookie:a=b;" * 30_000,
        "bearer " * 50_000,
        "-----BEGIN PRIVATE KEY-----" * 10_000,
        "password=" * 40_000,
        "x" * 100_000 + "://" + "y" * 300_000,
    ],
    ids=lambda text: text[:12],
)
def test_time_is_linear(hostile: str) -> None:
    redact(hostile[: len(hostile) // 8])
    before = time.perf_counter()
    redact(hostile)
    assert time.perf_counter() - before < 3.0  # quadratic time would take minutes


def test_an_id_with_a_credential_becomes_a_hash_that_tells_ids_apart() -> None:
    first, second = storable_id(f"run-sk-{SECRET}-1"), storable_id(f"run-sk-{SECRET}-2")
    assert first != second
    assert first == storable_id(f"run-sk-{SECRET}-1")
    assert first.startswith("hash-")
    assert len(first) == 37


@pytest.mark.parametrize("text", ["x" * 257, "a\nb", "a\0b", "a\x1b[31m", "\ud800"])
def test_ids_too_long_or_with_control_characters_become_hashes(text: str) -> None:
    assert storable_id(text).startswith("hash-")


@pytest.mark.parametrize("text", ["", "t-1", "x" * 256, "日本", "' OR '1'='1"])
def test_other_ids_stay(text: str) -> None:
    assert storable_id(text) == text


def test_lone_surrogates_become_question_marks() -> None:
    assert storable("a\ud800b") == "a?b"


def test_numbers_that_json_cannot_hold() -> None:
    assert storable_tree([float("nan"), float("inf"), 0.5, 3, True, None]) == [-1.0, -1.0, 0.5, 3, True, None]
