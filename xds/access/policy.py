"""The rules of who may do what, read from a file that a privacy officer can read, too.

A rule has two halves: what it says of a request, which is known when it is decided, and what it says of documents,
which becomes a filter.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from importlib.resources import files
from typing import Any

from xds.errors import Unusable

MOST_RULES, MOST_BYTES = 2000, 1024 * 1024
"""Of a policy."""

TRANSACTIONS = (
    "ITI-8", "ITI-18", "ITI-20", "ITI-38", "ITI-39", "ITI-41", "ITI-42", "ITI-43", "ITI-44", "ITI-51", "ITI-55",
    "ITI-57", "ITI-61", "ITI-62", "ITI-81", "ITI-86", "ITI-92", "RAD-55", "RAD-68", "RAD-69", "RAD-75", "RAD-107",
    "RAD-108", "RAD-129", "C-STORE", "console",
)  # fmt: skip
"""What a rule may be about: the transactions that are answered, and what has no number."""

ANYBODY = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; what is empty, or None, is not asked.  See ``policy.toml``."""

    name: str
    permit: bool
    about: str = ""
    peers: frozenset[str] = frozenset()
    organisations: frozenset[str] = frozenset()
    peer_roles: frozenset[str] = frozenset()
    persons: frozenset[str] = frozenset()
    person_organisations: frozenset[str] = frozenset()
    person_roles: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset()
    transactions: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()
    every_patient: bool | None = None
    override: bool | None = None
    from_: date | None = None
    until: date | None = None
    # Of documents.
    confidentiality: str = ""
    confidentiality_codes: frozenset[str] = frozenset()
    own: bool = False
    author_organisations: frozenset[str] = frozenset()
    class_codes: frozenset[str] = frozenset()
    type_codes: frozenset[str] = frozenset()
    format_codes: frozenset[str] = frozenset()
    repositories: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Override:
    """Who may break the glass, by saying so: for which purposes of use, and with which role."""

    purposes: frozenset[str] = frozenset()
    person_roles: frozenset[str] = frozenset((ANYBODY,))


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules in their order, and the levels that confidentialityCodes stand for."""

    rules: tuple[Rule, ...]
    levels: tuple[str, ...]
    codes: Mapping[str, str]  # code^^scheme → its level
    override: Override = field(default_factory=Override)

    def up_to(self, level: str) -> frozenset[str]:
        """The codes, as code^^scheme, that are no more restrictive than a level."""
        allowed = set(self.levels[: self.levels.index(level) + 1])
        return frozenset(code for code, its in self.codes.items() if its in allowed)


_TOP = {"confidentiality_levels", "confidentiality_scheme", "confidentiality_codes", "override", "groups", "rules"}
_KEYS = {"from": "from_", **{f.name: f.name for f in fields(Rule) if f.name != "from_"}}
_LISTS = {f.name for f in fields(Rule) if f.type == "frozenset[str]"}
_FLAGS = {"permit", "every_patient", "override", "own"}


def default() -> Policy:
    """The policy that xds has."""
    return read(files("xds.access").joinpath("policy.toml").read_text("utf-8"), "the policy of xds")


def read(text: str, called: str) -> Policy:
    """A policy from TOML.

    Raises:
        Unusable: it has a mistake; the message names line or rule, and the reason.
    """
    if len(text) > MOST_BYTES:
        raise Unusable(f"{called}: over {MOST_BYTES} characters")
    try:
        top = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise Unusable(f"{called}: {problem}") from None
    reading = _Reading(called, text)
    for key in top.keys() - _TOP:
        raise reading.wrong(f"there is no {key}", key)
    return reading.policy(top)


class _Reading:
    """One file on its way to being a policy."""

    def __init__(self, called: str, text: str) -> None:
        self._called, self._lines = called, text.splitlines()

    def wrong(self, reason: str, near: str = "") -> Unusable:
        """A mistake, with the first line that has what it is about."""
        line = next((n for n, line in enumerate(self._lines, 1) if near and near in line), 0)
        return Unusable(f"{self._called}{f', line {line}' if line else ''}: {reason}")

    def policy(self, top: Mapping[str, Any]) -> Policy:
        levels = self._texts(
            top.get("confidentiality_levels", ["U", "L", "M", "N", "R", "V"]), "confidentiality_levels"
        )
        scheme = str(top.get("confidentiality_scheme", "2.16.840.1.113883.5.25"))
        codes = {f"{level}^^{scheme}": level for level in levels}
        for code, level in self._table(top.get("confidentiality_codes", {}), "confidentiality_codes").items():
            if level not in levels or "^^" not in code:
                raise self.wrong(f"{code}: CODE^^SCHEME = one of {', '.join(levels)}", code)
            codes[code] = level
        groups = {
            f"@{name}": self._texts(listed, f"groups.{name}")
            for name, listed in self._table(top.get("groups", {}), "groups").items()
        }
        listed = top.get("rules")
        if not isinstance(listed, list) or not listed or len(listed) > MOST_RULES:
            raise self.wrong(f"between 1 and {MOST_RULES} [[rules]] are needed")
        rules = tuple(self._rule(number, rule, groups, levels) for number, rule in enumerate(listed, 1))
        self._once(rules)
        return Policy(rules, tuple(levels), codes, self._override(self._table(top.get("override", {}), "override")))

    def _override(self, table: Mapping[str, Any]) -> Override:
        for key in table.keys() - {"purposes", "person_roles"}:
            raise self.wrong(f"override: there is no {key}", key)
        given = {key: frozenset(self._texts(listed, f"override.{key}")) for key, listed in table.items()}
        return Override(**given)

    def _rule(
        self, number: int, rule: Any, groups: Mapping[str, Sequence[str]], levels: Sequence[str]
    ) -> Rule:  # fmt: skip
        name = rule.get("name") if isinstance(rule, dict) else None
        if not isinstance(name, str) or not name:
            raise self.wrong(f"rule {number} has no name")
        if not isinstance(rule.get("permit"), bool):
            raise self.wrong(f"rule {name}: permit is true or false", name)
        values: dict[str, Any] = {}
        for key, value in rule.items():
            if key not in _KEYS:
                raise self.wrong(f"rule {name}: there is no {key}", key)
            values[_KEYS[key]] = self._value(name, key, value, groups)
        unknown = values.get("transactions", frozenset()) - set(TRANSACTIONS)
        if unknown:
            raise self.wrong(f"rule {name}: {', '.join(sorted(unknown))} is no transaction that is answered", name)
        if values.get("confidentiality", levels[0]) not in levels:
            raise self.wrong(f"rule {name}: confidentiality is one of {', '.join(levels)}", name)
        return Rule(**values)

    def _value(self, name: str, key: str, value: Any, groups: Mapping[str, Sequence[str]]) -> Any:
        if key in _LISTS:
            return frozenset(self._expanded(name, self._texts(value, f"rule {name}: {key}"), groups))
        kind: type = bool if key in _FLAGS else date if key in ("from", "until") else str
        if type(value) is not kind:
            raise self.wrong(f"rule {name}: {key} is {_KINDS[kind]}", key)
        return value

    def _expanded(self, name: str, listed: Sequence[str], groups: Mapping[str, Sequence[str]]) -> Iterator[str]:
        for one in listed:
            if one.startswith("@") and one not in groups:
                raise self.wrong(f"rule {name}: there is no group {one}", one)
            yield from groups.get(one, (one,))

    def _texts(self, value: Any, what: str) -> list[str]:
        if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
            raise self.wrong(f"{what} is a list of texts", what.rpartition(" ")[2])
        return value

    def _table(self, value: Any, what: str) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self.wrong(f"{what} is a table", what)
        return value

    def _once(self, rules: Sequence[Rule]) -> None:
        seen = set[str]()
        for rule in rules:
            if rule.name in seen:
                raise self.wrong(f"two rules are called {rule.name}", rule.name)
            seen.add(rule.name)
        last = rules[-1]
        if last.permit or any(getattr(last, f.name) for f in fields(Rule) if f.name not in ("name", "about", "permit")):
            raise self.wrong(f"the last rule, {last.name}, must deny whatever is left", last.name)


_KINDS: Mapping[type, str] = {bool: "true or false", date: "a date, such as 2027-01-31", str: "a text"}
