"""Settings of before there were peers, rewritten: ``[senders.NAME]``, ``audit.readers``, ``cstore_from``.

What cannot be decided from the settings alone stays as it is, with a comment that says what has to be.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography import x509

from xds.access.peers import Peers
from xds.errors import Unusable
from xds.settings.access import PeerEntry
from xds.settings.sections import Settings
from xds.wire.certificates import NotACertificate, name_of

COMMAND = "xds config migrate"

# A role that is guessed, and by what: what it may do is for a person to decide.
_SOURCE, _READER = "document-source", "audit-reader"


def old_settings(settings: Settings) -> list[str]:
    """The settings in use that peers' entries have taken the place of; they are read still."""
    found = [f"senders.{name}" for name in settings.senders]
    found += ["audit.readers"] if settings.audit.readers else []
    return found + (["imaging_source.cstore_from"] if settings.imaging_source.cstore_from else [])


@dataclass
class Migrated:
    """The new text, and what is left for a person."""

    text: str
    undecided: list[str] = field(default_factory=list)


@dataclass
class _Moving:
    """Entries on their way, by name; ``gone`` are the old settings that they replace."""

    settings: Settings
    issuer: str
    entries: dict[str, PeerEntry] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    readers: list[str] = field(default_factory=list)  # that stay
    undecided: list[str] = field(default_factory=list)

    def sender(self, name: str) -> None:
        """``[senders.NAME]``: an entry for each of its certificates, or one by its addresses."""
        old = self.settings.senders[name]
        usual = PeerEntry(
            addresses=old.addresses, source_ids=old.source_ids, tolerate=old.tolerate, schema=old.schema,
            roles=(_SOURCE,) if old.source_ids else (),
        )  # fmt: skip
        told = [self._told(subject) for subject in old.certificates]
        if not old.certificates:
            told = [PeerEntry()] if old.addresses and not self.settings.tls.trusted else []
        if not told or None in told:
            self.undecided.append(
                f"senders.{name} stays: nothing says which certificate is its, or whose authority signs it;"
                " xds peer propose has the certificates that were seen"
            )
            return
        for number, one in enumerate(told, 1):
            assert one is not None  # noqa: S101  looked at above
            self._add(
                name if number == 1 else f"{name}-{number}", replace(usual, issuer=one.issuer, subject=one.subject)
            )
        self.gone.add(f"senders.{name}")

    def reader(self, number: int, who: str) -> None:
        """One of ``audit.readers``: a subject, or an address."""
        told = PeerEntry(addresses=(who,)) if _is_address(who) else self._told(who)
        if told is None or (told.addresses and self.settings.tls.trusted):
            self.readers.append(who)
            self.undecided.append(f"audit.readers: {who} stays: which certificate is theirs, and by which authority?")
            return
        self._add(f"audit-reader-{number}", replace(told, roles=(_READER,)))

    def _told(self, subject: str) -> PeerEntry | None:
        try:
            name_of(subject)
        except NotACertificate:
            return None
        return PeerEntry(issuer=self.issuer, subject=subject) if self.issuer else None

    def _add(self, name: str, entry: PeerEntry) -> None:
        """Add an entry, to that of the same certificate where there is one."""
        for other, known in self.entries.items():
            if entry.subject and name_of(known.subject or "CN=-") == name_of(entry.subject):
                self.entries[other] = replace(known, roles=tuple(dict.fromkeys((*known.roles, *entry.roles))))
                return
        taken = {*self.settings.peers, *self.entries}
        self.entries[name if name not in taken else f"{name[:28]}-old"] = entry


def migrated(text: str, settings: Settings) -> Migrated:
    """A settings file with its old settings as peers; ``settings`` are what it says.

    Raises:
        Unusable: an entry would tell the same certificate as one that is there, or the text is too unusual to change.
    """
    moving = _Moving(settings, only_authority(settings.tls.trusted))
    for name in settings.senders:
        moving.sender(name)
    for number, who in enumerate(settings.audit.readers, 1):
        moving.reader(number, who)
    titles = settings.imaging_source.cstore_from
    if titles:
        moving.undecided.append(
            f"imaging_source.cstore_from stays: give each of {', '.join(titles)} to its peer, as ae_titles, "
            "with the role imaging-document-source; then take it away"
        )
    Peers({**settings.peers, **moving.entries})
    readers = () if len(moving.readers) == len(settings.audit.readers) else tuple(settings.audit.readers)
    kept = _without(text, moving.gone, moving.readers if readers else None)
    new = kept.rstrip("\n") + "\n" + "".join(_written(moving))
    _demand_same(text, new, moving)
    return Migrated(new, moving.undecided)


def only_authority(file: str) -> str:
    """The one authority of a bundle, as text; empty where there are several, or none."""
    try:
        found = x509.load_pem_x509_certificates(Path(file).read_bytes()) if file else []
    except (OSError, ValueError):
        return ""
    return found[0].subject.rfc4514_string() if len(found) == 1 else ""


def _is_address(text: str) -> bool:
    return "=" not in text


def _without(text: str, gone: Iterable[str], readers: Sequence[str] | None) -> str:
    """The text without the tables that are gone, and with fewer ``audit.readers`` where they are named."""
    kept, header, lines = list[str](), "", iter(text.splitlines(keepends=True))
    for line in lines:
        bare = line.strip()
        if bare.startswith("["):
            header = bare.partition("#")[0].strip().strip("[]").replace('"', "").replace(" ", "")
        if header in gone:
            continue
        if header == "audit" and readers is not None and bare.partition("=")[0].strip() == "readers":
            _value(line, lines)
            kept += [f"readers = {json.dumps(list(readers))}\n"] if readers else []
            continue
        kept.append(line)
    return "".join(kept)


def _value(line: str, more: Iterator[str]) -> None:
    """Go past a value, however many lines it has."""
    while True:
        try:
            tomllib.loads(line)
        except tomllib.TOMLDecodeError:
            following = next(more, None)
            if following is None:
                return
            line += following
        else:
            return


def _written(moving: _Moving) -> Iterator[str]:
    if moving.entries or moving.undecided:
        yield f"\n# By {COMMAND}.\n"
    for said in moving.undecided:
        yield f"# Decide: {said}.\n"
    for name, entry in moving.entries.items():
        yield f"\n[peers.{name}]\n"
        yield "# Decide: its roles, which say what it may do: xds policy explain shows what follows.\n"
        for key, value in _said(entry).items():
            comment = "  # the only authority of tls.trusted" if key == "issuer" else ""
            yield f"{key} = {json.dumps(value, ensure_ascii=False)}{comment}\n"


def _said(entry: PeerEntry) -> Mapping[str, Any]:
    usual = PeerEntry()
    names = ("issuer", "subject", "addresses", "roles", "source_ids", "tolerate", "schema")
    pairs = ((name, getattr(entry, name)) for name in names)
    found = {key: list(value) if isinstance(value, tuple) else value for key, value in pairs
             if value != getattr(usual, key)}  # fmt: skip
    return {**found, "roles": list(entry.roles)}


def _demand_same(old: str, new: str, moving: _Moving) -> None:
    """See that nothing else has changed.

    Raises:
        Unusable: something has.
    """
    expected = tomllib.loads(old)
    for dotted in moving.gone:
        del expected["senders"][dotted.partition(".")[2]]
    if not expected.get("senders", True):
        del expected["senders"]
    if moving.settings.audit.readers and "readers" in expected.get("audit", {}):
        expected["audit"]["readers"] = moving.readers
        if not moving.readers:
            del expected["audit"]["readers"]
    for name, entry in moving.entries.items():
        expected.setdefault("peers", {})[name] = dict(_said(entry))
    try:
        found = tomllib.loads(new)
    except tomllib.TOMLDecodeError:
        found = {}
    if found != expected:
        raise Unusable("the file is written in a way that cannot be rewritten; write each table under its own [header]")
