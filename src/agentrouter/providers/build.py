"""Providers from their entries in the config.

Law: reads neither the environment nor a file; keys and folders come as arguments. Every problem is reported at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from agentrouter.config_file import ProviderSpec
from agentrouter.errors import ConfigError
from agentrouter.providers import Provider
from agentrouter.providers.vendors import VENDORS, vendor_for

MAX_TIMEOUT_S = 3_600.0


def build_providers(
    specs: Mapping[str, ProviderSpec], *, keys: Mapping[str, str], cache_dir: Path
) -> dict[str, Provider]:
    """Build every provider of a config.

    Args:
        specs: provider name -> its entry.
        keys: provider name -> its API key, from the variable that ``key_env`` names; providers without a key may be
            left out.
        cache_dir: where model files are kept.

    Raises:
        ConfigError: an unknown kind (the nearest is given), a field that its kind does not have, a bad URL or timeout,
            a missing key; all of them at once.
    """
    problems: list[str] = []
    built: dict[str, Provider] = {}
    for name, spec in specs.items():
        make = KINDS.get(spec.kind)
        if make is None:
            problems.append(f"providers.{name}.kind: {_unknown_kind(spec.kind)}")
            continue
        try:
            built[name] = make(name, spec, keys.get(name, ""), cache_dir)
        except ConfigError as error:
            problems.extend(f"providers.{name}{problem}" for problem in error.problems)
    if problems:
        raise ConfigError(problems)
    return built


def key_env(name: str, spec: ProviderSpec) -> str:
    """Return the environment variable that holds the provider's key: the entry's, else the vendor's own; or empty."""
    if spec.api_key_env or spec.kind != "openai" or (spec.base_url and _url_problems(spec.base_url)):
        return spec.api_key_env
    vendor = vendor_for(name, spec.base_url)
    return vendor.api_key_env if vendor is not None else ""


def _openai(name: str, spec: ProviderSpec, key: str, cache_dir: Path) -> Provider:
    from agentrouter.providers.openai_http import Limits, OpenAIHttp

    problems = _timeout_problems(spec)
    if spec.api_key_env and not (spec.api_key_env.isascii() and spec.api_key_env.isidentifier()):
        # Not shown: it may be the key itself.
        raise ConfigError([*problems, ".api_key_env: expected the name of an environment variable, not the key itself"])
    if spec.threads:
        problems.append(".threads: only kind local has threads")
    bad_url = _url_problems(spec.base_url) if spec.base_url else []
    if bad_url:
        raise ConfigError(problems + bad_url)
    vendor = vendor_for(name, spec.base_url)
    if vendor is None:
        near = get_close_matches(name, VENDORS, n=1)
        hint = f"; did you mean the name {near[0]!r}?" if near else ""
        problems.append(f".base_url: missing, and {name!r} is no vendor whose URL is known{hint}")
    else:
        problems += _key_problems(key.strip(), key_env(name, spec))
    if problems or vendor is None:
        raise ConfigError(problems)
    limits = Limits(connect_s=spec.connect_timeout_s, read_s=spec.read_timeout_s)
    return OpenAIHttp(vendor, key=key.strip(), name=name, limits=limits)


def _local(name: str, spec: ProviderSpec, key: str, cache_dir: Path) -> Provider:
    from agentrouter.providers.engine import EngineOptions
    from agentrouter.providers.local import Local
    from agentrouter.providers.store import ModelStore

    problems = [*_timeout_problems(spec), *_http_only_problems(spec)]
    if not 0 <= spec.threads <= 1024:
        problems.append(f".threads: expected 0 (chosen for you) to 1024, got {spec.threads}")
    if problems:
        raise ConfigError(problems)
    options = EngineOptions(threads=spec.threads)
    return Local(ModelStore(cache_dir), options=options, name=name, timeout_s=spec.read_timeout_s)


def _scripted(name: str, spec: ProviderSpec, key: str, cache_dir: Path) -> Provider:
    from agentrouter.providers.scripted import Scripted

    problems = _http_only_problems(spec)
    if problems:
        raise ConfigError(problems)
    return Scripted({}, name=name)


Make = Callable[[str, ProviderSpec, str, Path], Provider]

KINDS: Mapping[str, Make] = MappingProxyType({"openai": _openai, "local": _local, "scripted": _scripted})
"""Kind -> what builds it from name, entry, key and cache folder."""


def _unknown_kind(kind: str) -> str:
    near = get_close_matches(kind, KINDS, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    if kind in VENDORS:
        hint = "a vendor is kind openai under its own name. "
    return f"unknown kind {kind[:40]!r}: {hint}known kinds are {', '.join(KINDS)}"


def _timeout_problems(spec: ProviderSpec) -> list[str]:
    return [
        f".{field}: expected seconds above 0, at most {MAX_TIMEOUT_S:g}, got {value}"
        for field, value in (("connect_timeout_s", spec.connect_timeout_s), ("read_timeout_s", spec.read_timeout_s))
        if not (math.isfinite(value) and 0.0 < value <= MAX_TIMEOUT_S)
    ]


def _http_only_problems(spec: ProviderSpec) -> list[str]:
    given = [name for name, value in (("base_url", spec.base_url), ("api_key_env", spec.api_key_env)) if value]
    return [f".{name}: kind {spec.kind} makes no requests and has none" for name in given]


def _url_problems(url: str) -> list[str]:
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return [".base_url: is not a URL"]
    if parts.username is not None or parts.password is not None:
        # The URL itself is not shown: it holds a password.
        return [".base_url: holds a user name or password; name a variable under api_key_env instead"]
    problem = ""
    if parts.scheme not in ("http", "https") or not has_host:
        problem = "expected http://host... or https://host..."
    elif not (url.isascii() and url.isprintable()) or " " in url:
        problem = "expected printable ASCII without spaces"
    elif "?" in url or "#" in url:
        problem = "expected no query and no fragment"
    elif parts.path.rstrip("/").endswith("/chat/completions"):
        problem = "leave /chat/completions out; it is appended"
    return [f".base_url: {problem}, got {url[:100]!r}"] if problem else []


def _key_problems(key: str, variable: str) -> list[str]:
    if variable and not key:
        return [f": needs a key; set the environment variable {variable}"]
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        return [f": the key in {variable or 'its variable'} holds characters that no header can carry"]
    return []
