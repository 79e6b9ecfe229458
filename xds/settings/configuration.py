"""Reads the settings: defaults, then ``xds.toml``, then ``XDS_…`` variables.  What is no setting is an error."""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from xds.errors import Unusable
from xds.settings.access import PeerEntry
from xds.settings.federation import Community
from xds.settings.secrets import shown
from xds.settings.sections import SECTIONS, TABLES, Loaded, Location, Settings, Source, flat


def load(file: Path | None = None, environment: Mapping[str, str] = os.environ) -> Loaded:
    """Defaults, then the file, then ``XDS_…`` variables.

    Raises:
        Unusable: the file cannot be read, a key is unknown, or a value is of the wrong kind.
    """
    loaded = Loaded(Settings(), {})
    if file is not None:
        loaded = _with_file(loaded, file)
    return _with_environment(loaded, environment)


# A domain's name is the first part of its paths; these paths are something else's (design, section 4).
_TAKEN = frozenset((
    "registry", "repository", "imaging-source", "gateway", "responding-gateway", "wado", "dicomweb", "fhir", "console",
    "healthz", "readyz", "metrics", "default",
))  # fmt: skip


def _with_file(loaded: Loaded, file: Path) -> Loaded:
    try:
        tables = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise Unusable(f"{file}: {problem}") from None
    values: dict[str, Any] = {}
    for section, table in tables.items():
        if not isinstance(table, dict):
            raise Unusable(f"{file}: {section} is no section")
        if section in TABLES:
            loaded = _with_entries(loaded, section, table)
            continue
        if section not in SECTIONS:
            raise Unusable(f"{file}: there is no section {section}")
        for key, value in table.items():
            values[f"{section}.{key}"] = _checked(f"{section}.{key}", _kind(f"{section}.{key}"), value, str(file))
    return loaded.changed(values, "file")


def _with_entries(loaded: Loaded, section: str, table: Mapping[str, Any]) -> Loaded:
    """The same with the entries of a table that the operator names."""
    entries: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    for name, entry in table.items():
        dotted = f"{section}.{name}"
        if TABLES[section] is Location:
            entries[name] = _peer(dotted, entry)
            sources[dotted] = "file"
            continue
        values = _entry(dotted, TABLES[section], entry)
        _named(dotted, section, name)
        entries[name] = TABLES[section](**values)
        sources |= {f"{dotted}.{key}": "file" for key in values}
    changes: dict[str, Any] = {section: entries}
    return Loaded(dataclasses.replace(loaded.settings, **changes), {**loaded.sources, **sources})


def _named(dotted: str, section: str, name: str) -> None:
    if re.fullmatch(r"[a-z][a-z0-9-]{0,31}", name) is None or (section == "domains" and name in _TAKEN):
        rule = "a name has small letters, digits and hyphens, at most 32"
        taken = f", and is none of {', '.join(sorted(_TAKEN))}" if section == "domains" else ""
        raise Unusable(f"{dotted}: {rule}{taken}")


def _entry(dotted: str, kind: type, entry: Any) -> dict[str, Any]:
    """The values of a table's entry, each of the kind it must be."""
    hints = get_type_hints(kind)
    if not isinstance(entry, dict):
        raise Unusable(f"{dotted}: a table of {', '.join(hints)}")
    for key in entry.keys() - hints.keys():
        raise Unusable(f"{dotted}.{key}: there is no such setting")
    values = {key: _listed(kind, hints[key], value) for key, value in entry.items()}
    return {key: _checked(f"{dotted}.{key}", hints[key], value, "file") for key, value in values.items()}


def _listed(kind: type, hint: Any, value: Any) -> Any:
    """One value where several may be: of a peer or a community, which mostly has one of everything."""
    return [value] if kind in (PeerEntry, Community) and get_origin(hint) is tuple and isinstance(value, str) else value


def _peer(dotted: str, entry: Any) -> Location:
    if isinstance(entry, str):
        return Location(entry)
    known = {f.name for f in dataclasses.fields(Location)}
    texts = isinstance(entry, dict) and all(key in known and isinstance(text, str) for key, text in entry.items())
    if not texts or "url" not in entry:
        raise Unusable(f"{dotted}: a URL, or a table of url, certificate, key, trusted, name")
    return Location(**entry)


def _with_environment(loaded: Loaded, environment: Mapping[str, str]) -> Loaded:
    known = {f"XDS_{dotted.replace('.', '_').upper()}": dotted for dotted, _ in flat(Settings())}
    values: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith("XDS_"):
            continue
        if variable not in known:
            raise Unusable(f"environment: {variable} is no setting")
        dotted = known[variable]
        values[dotted] = _checked(dotted, _kind(dotted), _from_text(_kind(dotted), text), variable)
    return loaded.changed(values, "environment")


def _kind(dotted: str) -> Any:
    section, _, key = dotted.partition(".")
    if section not in SECTIONS:
        raise Unusable(f"{dotted}: there is no section {section}")
    hints = get_type_hints(type(getattr(Settings(), section)))
    if key not in hints:
        raise Unusable(f"{dotted}: there is no such setting")
    return hints[key]


def _from_text(kind: Any, text: str) -> Any:
    if get_origin(kind) is tuple:
        return [item.strip() for item in text.split(",") if item.strip()]
    if kind is bool:
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            return text
    return text


def _checked(dotted: str, kind: Any, value: Any, where: str) -> Any:
    if get_origin(kind) is tuple and isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(value)
    if get_origin(kind) is Literal and value in get_args(kind):
        return value
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and not isinstance(kind, types.GenericAlias) and type(value) is kind:
        return value
    said = "this" if shown(dotted, str(value)) != str(value) else repr(value)  # a secret stays one, mistaken or not
    raise Unusable(f"{where}: {dotted} cannot be {said}")
