"""The config file: everything wrong with it at once, with lines; nothing half started."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from agentrouter.config import cache_dir, json_schema, load_config, load_policy, provider_keys
from agentrouter.config_file import ProviderSpec
from agentrouter.config_text import MAX_NODES
from agentrouter.errors import ConfigError
from agentrouter.types import Capability, Slo, Tier

GOOD = """\
version: 1
policy: escalate:sticky:roles
providers:
  openai: {base_url: "https://api.openai.com/v1", api_key_env: OPENAI_API_KEY}
  home: {kind: local}
models:
  - {tier: frontier, provider: openai, model: big, price: {input: 5, output: 25, cache_read: 0.5}}
  - tier: minimal
    provider: home
    model: small
    price: {free: true}
    context_window: 8192
    labels: [local, eu]
    capabilities: [tools, json_schema, logprobs]
rules:
  roles:
    planner: {tiers: [frontier]}
  data_classes:
    pii: {labels: [local]}
  slo:
    realtime: {max_ttft_ms: 1500}
flow: {max_attempts: 2, default_tier: minimal, seed: 7}
budget: {trajectory_usd: 0.25}
ledger: {path: steps.db}
"""


def write(folder: Path, text: str | bytes, name: str = "router.yaml") -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def problems(folder: Path, text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(write(folder, text), environ={})
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_good_file(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD), environ={})
    big, small = config.world.catalog.candidates
    assert (big.name, big.tier, big.price.input, big.price.cache_read) == (
        "openai/big",
        Tier.FRONTIER,
        5_000_000,
        500_000,
    )
    assert (small.name, small.context_window, small.price.free) == ("home/small", 8_192, True)
    assert small.labels == {"local", "eu"}
    assert Capability.LOGPROBS in small.capabilities
    assert config.policy.name == "escalate:sticky:roles"
    assert config.world.rules.roles["planner"].tiers == {Tier.FRONTIER}
    assert config.world.rules.slo[Slo.REALTIME].max_ttft_ms == 1_500.0
    assert config.world.settings.seed == 7
    assert config.world.trajectory_budget_nusd == 250_000_000
    assert config.ledger.path == "steps.db"


@pytest.mark.parametrize("page", ["config.md", "quickstart.md"])
def test_the_examples_of_the_docs_are_good(tmp_path: Path, page: str) -> None:
    text = (Path(__file__).resolve().parent.parent / "docs" / page).read_text(encoding="utf-8")
    (example,) = re.findall(r"^```yaml\n(.*?)^```", text, re.S | re.M)
    config = load_config(write(tmp_path, example), environ={})
    assert {candidate.tier for candidate in config.world.catalog.candidates} >= {Tier.MINIMAL, Tier.FRONTIER}
    assert config.world.rules.data_classes["pii"]


def test_without_a_file_the_built_in_example() -> None:
    config = load_config(environ={})
    assert [candidate.name for candidate in config.world.catalog.candidates] == [
        "example/minimal",
        "example/efficient",
        "example/mid",
        "example/frontier",
    ]
    assert config.policy.name == "escalate:roles"


def test_the_environment_and_the_argument(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    environ = {
        "AGENTROUTER_CONFIG": path,
        "AGENTROUTER_POLICY": "length",
        "AGENTROUTER_LEDGER": "other.db",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
    }
    config = load_config(environ=environ)
    assert config.source == path
    assert config.policy.name == "length"
    assert config.ledger.path == "other.db"
    assert config.telemetry_endpoint == "http://127.0.0.1:4318"
    assert load_config(policy="uniform", environ=environ).policy.name == "uniform"


def test_unknown_keys_are_all_listed_with_line_and_nearest_name(tmp_path: Path) -> None:
    said = problems(tmp_path, GOOD.replace("max_attempts", "max_atempts").replace("- tier: minimal", "- teir: minimal"))
    assert "line 22: flow.max_atempts: unknown key; did you mean 'max_attempts'?" in said
    assert "line 8: models[1].teir: unknown key; did you mean 'tier'?" in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"),
        ("- a\n- b\n", "line 1: expected a mapping"),
        ("a: [1,\n", "is not YAML"),
        ("\tpolicy: roles\n", "is not YAML"),
        ("policy: roles\npolicy: length\n", "line 2: key 'policy' stands twice"),
        ("policy: !!python/object:os.system x\n", "line 1: tag"),
        ("policy: fixd:frontier\n", "line 1: policy: unknown policy 'fixd'"),
        ("policy: fixed:fontier\n", "unknown tier 'fontier'"),
        ("version: 2\n", "config version 2"),
        ("version: one\n", "line 1: version: expected `int`, got `str`"),
        ("flow: {max_attempts: 0}\n", "max_attempts: expected 1 to 10"),
        ("flow: {default_tier: top}\n", "unknown tier 'top'"),
        ("budget: {trajectory_usd: -1}\n", "expected a positive number of dollars"),
        ("budget: {trajectory_usd: .nan}\n", "expected a positive number of dollars"),
        ("rules: {slo: {fast: {max_ttft_ms: 1}}}\n", "slo: unknown class 'fast'"),
        ("rules: {roles: {planner: {}}}\n", "an empty pin restricts nothing"),
        ("price_overrides: nowhere.yaml\n", "nowhere.yaml: no such file"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in problems(tmp_path, text)


def test_several_problems_come_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("price: {free: true}", "price: {input: 0, output: 1}").replace(
        "policy: escalate", "policy: excalate"
    )
    text = text.replace("provider: home", "provider: nowhere").replace(
        "planner: {tiers: [frontier]}", "planner: {models: [x/y]}"
    )
    said = problems(tmp_path, text)
    for expected in ("models[1]", "unknown policy 'excalate'", "model 'x/y' is not under models:"):
        assert expected in said
    assert all(line.startswith(str(tmp_path)) for line in said.splitlines())


def test_two_models_of_one_name(tmp_path: Path) -> None:
    twice = GOOD.replace("    model: small\n", "    model: small\n    name: openai/big\n")
    assert "two models are named 'openai/big'" in problems(tmp_path, twice)


def test_an_unknown_price_names_the_model(tmp_path: Path) -> None:
    text = "providers: {x: {}}\nmodels: [{tier: mid, provider: x, model: no-such-model-9000}]\n"
    assert "no-such-model-9000" in problems(tmp_path, text)


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"\xff\xfea\x00", "is not UTF-8"), (b"a: \x00", "is not YAML"), (b"\x80\x81", "is not UTF-8")],
)
def test_bytes_that_are_no_text(tmp_path: Path, content: bytes, expected: str) -> None:
    assert expected in problems(tmp_path, content)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_config(str(tmp_path / "none.yaml"), environ={})
    with pytest.raises(ConfigError, match="is a folder"):
        load_config(str(tmp_path), environ={})


def test_an_alias_bomb_is_refused(tmp_path: Path) -> None:
    levels = "\n".join(f"a{n}: &a{n} [{', '.join(f'*a{n - 1}' for _ in range(10))}]" for n in range(1, 9))
    assert f"more than {MAX_NODES} values" in problems(tmp_path, f"a0: &a0 [1, 2]\n{levels}\n")


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    assert "nested too deeply" in problems(tmp_path, "a: " + "[" * 5_000 + "]" * 5_000)


def test_crlf_is_fine(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, GOOD.replace("\n", "\r\n")), environ={}).policy.name == "escalate:sticky:roles"


def test_a_policy_file(tmp_path: Path) -> None:
    path = write(tmp_path, "policy: escalate\ninner: {policy: roles, label: mine, chart: {writer: mid}}\n", "p.yaml")
    assert load_policy(path).name == "escalate:mine"
    bad = write(tmp_path, "policy: roles\nchart: {writer: middle}\n", "bad.yaml")
    with pytest.raises(ConfigError, match=r"bad\.yaml: chart\.writer: unknown tier 'middle'"):
        load_policy(bad)


def test_keys_come_from_the_environment_and_are_never_guessed() -> None:
    specs = {
        "mine": ProviderSpec(base_url="http://127.0.0.1:9/v1", api_key_env="MY_KEY"),
        "openai": ProviderSpec(),
        "home": ProviderSpec(kind="local"),
    }
    environ = {"MY_KEY": "one", "OPENAI_API_KEY": "two", "HOME_KEY": "three"}
    assert provider_keys(specs, environ) == {"mine": "one", "openai": "two"}
    assert provider_keys(specs, {}) == {}


def test_the_cache_folder() -> None:
    assert cache_dir({"AGENTROUTER_HOME": "/x"}) == Path("/x")
    assert cache_dir({"XDG_CACHE_HOME": "/c"}) == Path("/c/agentrouter")


def test_the_schema_knows_every_key_and_allows_no_other() -> None:
    schema = json_schema()
    text = json.dumps(schema)
    for key in ("policy", "models", "providers", "trajectory_usd", "cache_write_1h", "default_tier"):
        assert f'"{key}"' in text
    assert schema["$defs"]["ConfigFile"]["additionalProperties"] is False


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &a [*a]\n", "nested too deeply"),
        ("? [a]\n: 1\n", "line 1: found unhashable key"),
        ("policy: 2026-13-45\n", "month must be in 1..12"),
        ("rules: {slo: {batch: {max_ttft_ms: .nan}}}\n", "slo.batch.max_ttft_ms: expected milliseconds"),
        ("rules: {slo: {batch: {max_total_ms: -1}}}\n", "slo.batch.max_total_ms: expected milliseconds"),
    ],
)
def test_odd_yaml_is_a_config_error(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(said)):
        load_config(str(path), environ={})
