"""Providers from config entries, and the vendor table."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from agentrouter.catalog import Catalog
from agentrouter.config import load_config
from agentrouter.config_file import ProviderSpec
from agentrouter.errors import ConfigError
from agentrouter.providers.build import build_providers, key_env
from agentrouter.providers.local import Local
from agentrouter.providers.openai_http import DETAIL_CHARS, MAX_BODY_BYTES, OpenAIHttp
from agentrouter.providers.scripted import Scripted
from agentrouter.providers.vendors import VENDORS, vendor_for
from agentrouter.router import Router
from agentrouter.trajectory import World
from agentrouter.types import Candidate, Price, Reply, Tier
from agentrouter.wire.usage import usage_from

KEY = "a-key-for-tests"


def problems(name: str, spec: ProviderSpec, key: str = KEY) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        build_providers({name: spec}, keys={name: key}, cache_dir=Path("unused"))
    return caught.value.problems


def test_each_kind_builds_its_provider(tmp_path: Path) -> None:
    specs = {
        "openai": ProviderSpec(),
        "box": ProviderSpec(base_url="http://10.0.0.7:8000/v1/"),
        "local": ProviderSpec(kind="local", threads=2),
        "example": ProviderSpec(kind="scripted"),
    }
    built = build_providers(specs, keys={"openai": KEY}, cache_dir=tmp_path)
    assert [(name, type(each)) for name, each in built.items()] == [
        ("openai", OpenAIHttp),
        ("box", OpenAIHttp),
        ("local", Local),
        ("example", Scripted),
    ]
    assert [each.name for each in built.values()] == list(specs)
    assert repr(built["openai"]) == "OpenAIHttp(name='openai', url='https://api.openai.com/v1/chat/completions')"
    assert repr(built["box"]) == "OpenAIHttp(name='box', url='http://10.0.0.7:8000/v1/chat/completions')"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "spec", "key", "problem"),
    [
        ("a", ProviderSpec(kind="opnai"), KEY, "did you mean openai? known kinds are openai, local, scripted"),
        ("a", ProviderSpec(kind="groq"), KEY, "a vendor is kind openai under its own name"),
        ("opena", ProviderSpec(), KEY, "did you mean the name 'openai'?"),
        ("house", ProviderSpec(), KEY, "providers.house.base_url: missing, and 'house' is no vendor"),
        ("openai", ProviderSpec(), "", "providers.openai: needs a key; set the environment variable OPENAI_API_KEY"),
        ("openai", ProviderSpec(), "two\nlines", "the key in OPENAI_API_KEY holds characters"),
        ("a", ProviderSpec(base_url="ftp://host/v1"), KEY, "expected http://host... or https://host..."),
        ("a", ProviderSpec(base_url="host:8000/v1"), KEY, "expected http://host... or https://host..."),
        ("a", ProviderSpec(base_url="http://[::1/v1"), KEY, ".base_url: is not a URL"),
        ("a", ProviderSpec(base_url="http://host:99999/v1"), KEY, ".base_url: is not a URL"),
        ("a", ProviderSpec(base_url="http://host/v1?x=1"), KEY, "expected no query"),
        ("a", ProviderSpec(base_url="http://host/v1 "), KEY, "without spaces"),
        ("a", ProviderSpec(base_url="http://host/v1/chat/completions"), KEY, "leave /chat/completions out"),
        ("a", ProviderSpec(base_url="http://h/v1", read_timeout_s=0.0), KEY, ".read_timeout_s: expected seconds"),
        ("a", ProviderSpec(base_url="http://h/v1", connect_timeout_s=float("nan")), KEY, ".connect_timeout_s"),
        ("a", ProviderSpec(base_url="http://h/v1", threads=2), KEY, ".threads: only kind local"),
        ("a", ProviderSpec(kind="local", threads=-1), KEY, ".threads: expected 0"),
        ("a", ProviderSpec(kind="local", base_url="http://h/v1"), KEY, ".base_url: kind local makes no requests"),
        ("a", ProviderSpec(kind="scripted", api_key_env="X"), KEY, ".api_key_env: kind scripted makes no requests"),
    ],
)
def test_what_is_wrong_is_said(name: str, spec: ProviderSpec, key: str, problem: str) -> None:
    (found,) = problems(name, spec, key)
    assert problem in found
    assert "two\nlines" not in found


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    (found,) = problems("a", ProviderSpec(base_url="https://me:hunter2@host/v1"))
    assert "api_key_env" in found
    assert "hunter2" not in found


def test_all_problems_at_once() -> None:
    specs = {
        "a": ProviderSpec(kind="nothing"),
        "b": ProviderSpec(base_url="x", threads=1, read_timeout_s=-1.0),
        "openai": ProviderSpec(),
        "fine": ProviderSpec(kind="scripted"),
    }
    with pytest.raises(ConfigError) as caught:
        build_providers(specs, keys={}, cache_dir=Path("unused"))
    assert len(caught.value.problems) == 5


@pytest.mark.parametrize(
    ("name", "spec", "variable"),
    [
        ("groq", ProviderSpec(), "GROQ_API_KEY"),
        ("groq", ProviderSpec(api_key_env="MINE"), "MINE"),
        ("fast", ProviderSpec(base_url="https://api.groq.com/openai/v1"), "GROQ_API_KEY"),
        ("openai", ProviderSpec(base_url="https://proxy.example/v1"), ""),
        ("openai", ProviderSpec(base_url="http://api.openai.com/v1"), ""),
        ("openai", ProviderSpec(base_url="https://api.openai.com.evil.example/v1"), ""),
        ("vllm", ProviderSpec(), ""),
        ("house", ProviderSpec(base_url="https://house.example/v1"), ""),
        ("local", ProviderSpec(kind="local"), ""),
        ("broken", ProviderSpec(base_url="http://[::1/v1"), ""),
    ],
)
def test_a_vendors_key_goes_to_the_vendor_only(name: str, spec: ProviderSpec, variable: str) -> None:
    assert key_env(name, spec) == variable


def test_a_key_is_stripped_of_the_line_end_that_files_leave() -> None:
    built = build_providers({"openai": ProviderSpec()}, keys={"openai": f"{KEY}\n"}, cache_dir=Path("unused"))
    assert isinstance(built["openai"], OpenAIHttp)


def test_the_dialect_is_found_by_host_then_by_name() -> None:
    found = [
        vendor_for("fast", "https://api.mistral.ai/v1/"),
        vendor_for("deepseek", "http://10.0.0.7:8000/v1"),
        vendor_for("house", "http://localhost:8000/v1"),
        vendor_for("house"),
    ]
    assert [vendor and (vendor.name, vendor.base_url, vendor.usage) for vendor in found] == [
        ("mistral", "https://api.mistral.ai/v1", "openai"),
        ("deepseek", "http://10.0.0.7:8000/v1", "deepseek"),
        # Four servers have localhost to themselves, so the host says nothing there.
        ("house", "http://localhost:8000/v1", ""),
        None,
    ]


@pytest.mark.parametrize("name", VENDORS)
def test_rows_are_whole(name: str) -> None:
    row = VENDORS[name]
    parts = urlsplit(row.base_url)
    assert row.name == name
    assert (parts.scheme == "https") == bool(row.api_key_env)
    assert parts.scheme == "https" or parts.hostname == "localhost"
    assert not row.base_url.endswith("/")
    assert row.source != ""
    assert row.dialect.structured in ("schema", "object", "none")
    assert row.dialect.limit_field in ("max_tokens", "max_completion_tokens")
    if row.usage != "openai_total":
        fields = {"prompt_tokens": 5, "completion_tokens": 1}
        fields |= {"prompt_cache_hit_tokens": 3, "prompt_cache_miss_tokens": 2} if row.usage == "deepseek" else {}
        assert usage_from(row.usage, fields).input_total == 5


class TestPage:
    """docs/how-to/add-a-provider.md holds."""

    PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "add-a-provider.md").read_text(encoding="utf-8")

    def blocks(self, language: str) -> list[str]:
        return re.findall(rf"```{language}\n(.*?)```", self.PAGE, re.DOTALL)

    def test_the_config_loads_and_builds(self, tmp_path: Path) -> None:
        (text,) = self.blocks("yaml")
        (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
        config = load_config(str(tmp_path / "c.yaml"), environ={})
        variables = {name: key_env(name, spec) for name, spec in config.providers.items()}
        assert variables == {
            "openai": "OPENAI_API_KEY",
            "fast": "GROQ_API_KEY",
            "vllm": "",
            "house": "HOUSE_KEY",
            "local": "",
        }
        keys = {name: KEY for name, variable in variables.items() if variable}
        assert list(build_providers(config.providers, keys=keys, cache_dir=tmp_path)) == list(variables)

    def test_the_vendors_and_limits_are_the_tables(self) -> None:
        assert all(f"`{name}`" in self.PAGE for name in VENDORS)
        assert f"{MAX_BODY_BYTES >> 20} MiB" in self.PAGE
        assert f"cut to {DETAIL_CHARS}\ncharacters" in self.PAGE

    def test_the_python_runs(self) -> None:
        row, shout = self.blocks("python")
        exec(row, {})
        names: dict[str, Any] = {}
        exec(shout, names)
        candidate = Candidate(
            name="shout/x", provider="shout", model="x", tier=Tier.MID,
            price=Price(input=1, output=1, cache_read=1, cache_write=1),
        )  # fmt: skip
        router = Router(World(catalog=Catalog((candidate,))), "fixed:mid", providers={"shout": names["Shout"]()})
        step = router.step([{"role": "user", "content": "hello"}], trajectory_id="t")
        assert asyncio.run(router.run(step)).reply == Reply(text="HELLO")
