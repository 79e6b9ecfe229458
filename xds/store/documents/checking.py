"""Whether a store of documents can be used, before anything in it is touched; each refusal says what to do."""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from itertools import islice

import obstore
import sqlalchemy as sa
from obstore.exceptions import BaseError

from xds.errors import Unusable
from xds.settings.sections import Settings
from xds.store.deployment import note, noted
from xds.store.documents.folder import NotReachable, batches, sizes
from xds.store.documents.object_store import NO_VERSION, VERSIONS_RIGHT
from xds.store.documents.shelves import WITHIN
from xds.store.documents.sightings import SWEEP_SECONDS
from xds.store.documents.stores import Place, places
from xds.store.engine import make_engine, reading

log = logging.getLogger("xds.store.documents.checking")

SAMPLE, MANY = 1000, 100
"""Of a store's documents, how many are looked up; and how many that nobody knows keep a server from starting."""

_MARK = "staging/move-"
"""Begins the name of what shows whether two stores are one: no document's, and in a folder the sweep takes it."""

_PART = re.compile(r"[0-9a-f]{2}")
_OURS = ("staging", "locks", WITHIN)

# What a store says of whom it does not let in: the status, and codes of S3; versitygw says 404 of an unknown key.
_NOT_LET_IN = re.compile(
    r"\b(?:401|403|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|ExpiredToken|XAdminUserNotFound)\b"
)
_NO_BUCKET = re.compile(r"NoSuchBucket|\b404\b")


def check(settings: Settings) -> None:
    """Look at the stores of a server that is about to start; one that does not answer may do so later.

    To be called in a process that forks no others: the libraries have threads.

    Raises:
        Unusable: there is no such bucket, its keys are not taken, what is encrypted in it cannot be opened, or it is
            full of others' documents: the sweep would remove them.
    """
    engine = make_engine(settings.database_url, connections=2)  # one may be a lock, while the other is asked
    try:
        for place in places(settings):
            try:
                look(place)
                opens(place, engine)
                unknown, versions = _unknown(place, engine), keeps_versions(place)
            except NotReachable:
                log.warning("documents.not_reachable", extra={"setting": place.setting})
                continue
            if unknown >= MANY:
                raise Unusable(_not_ours(place))
            with engine.begin() as connection:
                note(connection, _name(place), str(place))
            if versions:
                log.warning("documents.versions_stay", extra={"setting": place.setting, "right": VERSIONS_RIGHT})
    finally:
        engine.dispose()


def opens(place: Place, engine: sa.Engine) -> None:
    """See that what is encrypted in a store can be opened; the keys of a store that has none are made.

    Raises:
        Unusable: it cannot be.
        NotReachable: it does not answer.
    """
    if place.key_file:
        place.store_keys(engine).make()
    else:
        place.see_in_clear(place.shelf(engine).read())


def look(place: Place) -> list[str]:
    """What lies at the top of a store.

    Raises:
        Unusable: there is no such bucket, or its keys are not taken.
        NotReachable: it does not answer.
    """
    if not place.is_bucket:
        return sorted(one.name for one in place.folder.iterdir()) if place.folder.is_dir() else []
    bucket = place.bucket()
    try:
        found = obstore.list_with_delimiter(bucket)
    except (BaseError, OSError) as problem:
        raise _refusal(place, str(problem)) from None
    within = f"{bucket.prefix}/" if bucket.prefix else ""
    paths = (*found["common_prefixes"], *(one["path"] for one in found["objects"]))
    return [path.removeprefix(within) for path in paths]


def others(names: Iterable[str]) -> list[str]:
    """Of what lies at the top of a store, what xds has not put there."""
    return [name for name in names if not _PART.fullmatch(name.strip("/")) and name.strip("/") not in _OURS]


def owned(place: Place, engine: sa.Engine) -> None:
    """See that a store that documents are moved into has none but ours.

    Raises:
        Unusable: it has something else; or as ``look``.
        NotReachable: it does not answer.
    """
    strangers = others(look(place))
    if strangers:
        rule = "documents move into a store of their own: name another, or a prefix in it"
        raise Unusable(f"{place.setting}: {place} holds {strangers[0]}, which is not ours: {rule}")
    if _unknown(place, engine):
        raise Unusable(_not_ours(place))


def are_one(place: Place, other: Place) -> bool:
    """Whether two stores are one under two names: what is put into the first shows in the other.

    Raises:
        Unusable: one of them cannot be used so.
        NotReachable: it does not answer.
    """
    name = _MARK + secrets.token_hex(16)
    try:
        with _refusing(place):
            if place.is_bucket:
                obstore.put(place.bucket(), name, b"xds documents move")
            else:
                (place.folder / name).touch()
        with _refusing(other):
            return _shows(other, name)
    finally:
        with _refusing(place), contextlib.suppress(FileNotFoundError):
            if place.is_bucket:
                obstore.delete(place.bucket(), name)
            else:
                (place.folder / name).unlink()


def _shows(place: Place, name: str) -> bool:
    if not place.is_bucket:
        return (place.folder / name).exists()
    try:
        obstore.head(place.bucket(), name)
    except FileNotFoundError:
        return False
    return True


@contextlib.contextmanager
def _refusing(place: Place) -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError) as problem:
        if not place.is_bucket:
            raise Unusable(f"{place.setting}: {place}: {getattr(problem, 'strerror', None)}") from None
        raise _refusal(place, str(problem)) from None


def _unknown(place: Place, engine: sa.Engine) -> int:
    """How many documents, of some, the database does not know; none where it knows any of them, or the store.

    Of a deployment that has removed all that it had, they are gone with the next sweep.
    """
    with reading(engine) as connection:
        if noted(connection, _name(place)):
            return 0
    limit, found = time.time() - SWEEP_SECONDS, 0
    old = (sha256 for sha256, modified in islice(place.open(engine).listed(), SAMPLE) if modified < limit)
    for some in batches(old):
        if sizes(engine, some):
            return 0
        found += len(some)
    return found


def _name(place: Place) -> str:
    """What it is noted by that the deployment has used a store."""
    return f"documents {place.note}"


def _not_ours(place: Place) -> str:
    rule = "is it another deployment's, or is server.database the wrong one? The sweep would remove what is there"
    return f"{place.setting}: {place} holds documents, and the database knows none of them: {rule}"


def _refusal(place: Place, said: str) -> Exception:
    where = f"{place.setting}: {place}"
    if _NOT_LET_IN.search(said):
        prefix = "ALSO_" if place.keys.get("access_key_id") else ""
        keys = f"{prefix}AWS_ACCESS_KEY_ID and {prefix}AWS_SECRET_ACCESS_KEY"
        rule = f"look at {keys}, and at what they may do: list, get, put, delete"
        return Unusable(f"{where}: the object store does not let this node in: {rule}")
    if _NO_BUCKET.search(said):
        at = place.s3.endpoint or "Amazon's"
        return Unusable(f"{where}: there is no such bucket at {at}: make it, or name another")
    return NotReachable(where)


def keeps_versions(place: Place) -> bool:
    """Whether it shows that the bucket keeps older versions: then what is removed is not gone, as ITI-86 promises.

    Raises:
        NotReachable: it does not answer.
    """
    if not place.is_bucket:
        return False
    try:
        bucket = place.bucket()
        first = next((one["path"] for batch in islice(obstore.list(bucket), 1) for one in batch), None)
        return first is not None and obstore.head(bucket, first)["version"] not in NO_VERSION
    except FileNotFoundError:  # it has just been removed
        return False
    except (BaseError, OSError):
        raise NotReachable from None
