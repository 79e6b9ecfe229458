"""What an affinity domain uses, from a file of its own; each finding names attribute, rule and clause.

ITI TF-3: 4.2.3.1.2 and ITI TF-2: 3.42.4.1.3.  The file is TOML.  A coded attribute is a table, in it a list of codes a
coding scheme; others are lists, of the media types, languages, repositories and sources that the domain knows;
``formats`` says which media types a format code comes with.  What the file does not name may be anything::

    mimeType = ["application/dicom", "application/pdf"]
    sourceId = ["1.2.3.4", "1.2.3.5"]
    [classCode]
    "1.3.6.1.4.1.19376.1.2.6.1" = ["IMAGES", "REPORTS"]
    [formats]
    "1.2.840.10008.5.1.4.1.1.88.59^^1.2.840.10008.2.6.1" = ["application/dicom"]
"""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from xds.errors import ErrorCode, Finding, Severity, Unusable
from xds.metadata.datatypes import Code
from xds.metadata.reading import UNREAD_CODE, camel
from xds.metadata.submission import MetadataObject, Submission
from xds.metadata.vocabulary import DOCUMENT_ENTRY_CODES, FOLDER_CODES, SUBMISSION_SET_CODES

log = logging.getLogger("xds.rules.code_sets")

# Each coded attribute by its name in the file, with its own name.
_ENTRY, _SET, _FOLDER = (
    {camel(name): name for name in table} for table in (DOCUMENT_ENTRY_CODES, SUBMISSION_SET_CODES, FOLDER_CODES)
)
# Attributes that are no codes.
_ENTRY_TEXTS = {"mimeType": "mime_type", "languageCode": "language_code", "repositoryUniqueId": "repository_unique_id"}
_SET_TEXTS = {"sourceId": "source_id"}
_TEXTS = frozenset({*_ENTRY_TEXTS, *_SET_TEXTS})
FORMATS = "formats"
_TELLING = frozenset({"eventCodeList", "codeList"})
ATTRIBUTES = frozenset({*_ENTRY, *_SET, *_FOLDER, *_TEXTS, FORMATS})


@dataclass(frozen=True, slots=True)
class CodeSets:
    """Allowed values by attribute: ``code^^scheme``, compared without regard to the display name, or a text.

    ``formats``: the media types that go with a format code.
    """

    values: Mapping[str, frozenset[str]]
    severity: Severity = Severity.ERROR
    formats: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def findings(self, submission: Submission) -> Iterator[Finding]:
        """Everything that the domain does not use."""
        yield from self._of("SubmissionSet", submission.submission_set, _SET)
        yield from self._texts_of("SubmissionSet", submission.submission_set, _SET_TEXTS)
        for folder in submission.folders:
            yield from self._of("Folder", folder, _FOLDER)
        for entry in submission.document_entries:
            yield from self._of("DocumentEntry", entry, _ENTRY)
            yield from self._texts_of("DocumentEntry", entry, _ENTRY_TEXTS)
            if entry.mime_type and entry.mime_type not in self.formats.get(entry.format_code.key, {entry.mime_type}):
                yield self._wrong("DocumentEntry.mimeType", "is none that goes with the formatCode", entry)

    def _of(self, kind: str, item: Any, attributes: Mapping[str, str]) -> Iterator[Finding]:
        for name, attribute in attributes.items():
            if name not in self.values:
                continue
            for code in _codes(getattr(item, attribute)):
                if code != UNREAD_CODE and code.key not in self.values[name]:
                    # What was done to whom, or why, may tell of the patient: of that the scheme is named alone.
                    said = code.scheme if name in _TELLING else code.key
                    yield self._wrong(f"{kind}.{name}", f"a code of {said[:128]} is none that this domain uses", item)

    def _texts_of(self, kind: str, item: Any, attributes: Mapping[str, str]) -> Iterator[Finding]:
        for name, attribute in attributes.items():
            if name in self.values and (value := getattr(item, attribute)) and value not in self.values[name]:
                yield self._wrong(f"{kind}.{name}", "is none that this domain uses", item)

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
    formats: dict[str, frozenset[str]] = {}
    for attribute, table in tables.items():
        if attribute not in ATTRIBUTES:
            raise Unusable(f"code sets: {attribute} is none of {', '.join(sorted(ATTRIBUTES))}")
        if attribute in _TEXTS:
            values[attribute] = frozenset(_texts(attribute, table))
        elif attribute == FORMATS and isinstance(table, dict):
            formats = {code: frozenset(_texts(attribute, types)) for code, types in table.items()}
        elif isinstance(table, dict):
            keys = (f"{code}^^{scheme}" for scheme, codes in table.items() for code in _texts(attribute, codes))
            values[attribute] = frozenset(keys)
        else:
            raise Unusable(f"code sets: {attribute} is a table")
    return CodeSets(values, severity, formats)


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
