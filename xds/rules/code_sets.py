"""The codes that an affinity domain uses, from a file of its own; each finding names attribute, rule and clause.

ITI TF-3: 4.2.3.1.2 and ITI TF-2: 3.42.4.1.3.  The file is TOML: a table an attribute, in it a list of codes a coding
scheme; ``mimeType`` is a list.  What the file does not name may have any code::

    mimeType = ["application/dicom", "application/pdf"]
    [classCode]
    "1.3.6.1.4.1.19376.1.2.6.1" = ["IMAGES", "REPORTS"]
"""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from xds.errors import ErrorCode, Finding, Severity, Unusable
from xds.metadata.datatypes import Code
from xds.metadata.reading import camel
from xds.metadata.submission import MetadataObject, Submission
from xds.metadata.vocabulary import DOCUMENT_ENTRY_CODES, FOLDER_CODES, SUBMISSION_SET_CODES

log = logging.getLogger("xds.rules.code_sets")

# Each coded attribute by its name in the file, with its own name.
_ENTRY, _SET, _FOLDER = (
    {camel(name): name for name in table} for table in (DOCUMENT_ENTRY_CODES, SUBMISSION_SET_CODES, FOLDER_CODES)
)
MIME_TYPE = "mimeType"
ATTRIBUTES = frozenset({*_ENTRY, *_SET, *_FOLDER, MIME_TYPE})


@dataclass(frozen=True, slots=True)
class CodeSets:
    """Allowed values by attribute: ``code^^scheme``, compared without regard to the display name."""

    values: Mapping[str, frozenset[str]]
    severity: Severity = Severity.ERROR

    def findings(self, submission: Submission) -> Iterator[Finding]:
        """Every code that the domain does not use."""
        yield from self._of("SubmissionSet", submission.submission_set, _SET)
        for folder in submission.folders:
            yield from self._of("Folder", folder, _FOLDER)
        for entry in submission.document_entries:
            yield from self._of("DocumentEntry", entry, _ENTRY)
            if MIME_TYPE in self.values and entry.mime_type not in self.values[MIME_TYPE]:
                yield self._wrong(f"DocumentEntry.{MIME_TYPE}", "is none that this domain uses", entry)

    def _of(self, kind: str, item: Any, attributes: Mapping[str, str]) -> Iterator[Finding]:
        for name, attribute in attributes.items():
            if name not in self.values:
                continue
            for code in _codes(getattr(item, attribute)):
                if code.key not in self.values[name]:
                    yield self._wrong(f"{kind}.{name}", f"{code.key[:128]} is none that this domain uses", item)

    def _wrong(self, attribute: str, rule: str, item: MetadataObject) -> Finding:
        context = f"{attribute}: {rule} (ITI TF-2: 3.42.4.1.3)"
        return Finding(ErrorCode.REGISTRY_METADATA, context, item.entry_uuid, self.severity)


ANY = CodeSets({})
"""Of a domain that restricts nothing."""


def _codes(value: Code | Iterable[Code]) -> Iterable[Code]:
    return (value,) if isinstance(value, Code) else value


def read(text: str, severity: Severity = Severity.ERROR) -> CodeSets:
    """The code sets that a file holds.

    Raises:
        Unusable: not TOML, an attribute that has no codes, or something else than lists of texts.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise Unusable(f"code sets: {problem}") from None
    values: dict[str, frozenset[str]] = {}
    for attribute, table in tables.items():
        if attribute not in ATTRIBUTES:
            raise Unusable(f"code sets: {attribute} is none of {', '.join(sorted(ATTRIBUTES))}")
        if attribute == MIME_TYPE:
            values[attribute] = frozenset(_texts(attribute, table))
        elif isinstance(table, dict):
            keys = (f"{code}^^{scheme}" for scheme, codes in table.items() for code in _texts(attribute, codes))
            values[attribute] = frozenset(keys)
        else:
            raise Unusable(f"code sets: {attribute} is a table of coding schemes")
    return CodeSets(values, severity)


def _texts(attribute: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise Unusable(f"code sets: {attribute} needs lists of texts")
    return value


class CodeSetsFile:
    """A file of code sets, read again when it has changed; what cannot be read leaves those before in force.

    Raises:
        Unusable: it cannot be read the first time.
    """

    def __init__(self, path: Path, severity: Severity) -> None:
        self._path, self._severity, self._lock = path, severity, Lock()
        self._changed = self._stamp()
        self._sets = self._read()

    def current(self) -> CodeSets:
        """The code sets as the file has them now."""
        with self._lock:
            try:
                changed = self._stamp()
                if changed != self._changed:
                    self._changed = changed
                    self._sets = self._read()
                    log.info("code_sets.read", extra={"path": str(self._path)})
            except Unusable as problem:
                log.error("code_sets.not_read", extra={"path": str(self._path), "reason": str(problem)})
            return self._sets

    def _stamp(self) -> tuple[int, int]:
        try:
            status = self._path.stat()
        except OSError as problem:
            raise Unusable(f"domain.codes: {self._path}: {problem.strerror}") from None
        return status.st_mtime_ns, status.st_size

    def _read(self) -> CodeSets:
        try:
            return read(self._path.read_text("utf-8"), self._severity)
        except (OSError, UnicodeDecodeError) as problem:
            raise Unusable(f"domain.codes: {self._path}: {type(problem).__name__}") from None
