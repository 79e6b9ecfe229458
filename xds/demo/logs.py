"""What the sites' audit logs say, read as an auditor there would."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from xds.audit.log.keys import load_certificates
from xds.audit.log.verify import Verified, verify
from xds.audit.search.reports import Line, who_saw
from xds.audit.search.unjoined import RETRIEVALS
from xds.demo.site import Site
from xds.store.audit import search
from xds.store.audit.records import count
from xds.store.engine import make_engine


def line_of(site: Site, patient: str, person: str) -> Line | None:
    """What a site's log says of a person and a patient, as far as it is indexed."""
    engine = make_engine(site.settings.database_url, connections=1)
    with engine.connect() as connection:
        records = search.found(connection, search.Wanted((("patient", patient),)), 5000)
    engine.dispose()
    return next((line for line in who_saw(records) if line.key.startswith(person)), None)


def not_named(site: Site, patient: str, studies: Iterable[str]) -> set[int]:
    """The records about studies of a patient that are not found by the patient."""
    engine = make_engine(site.settings.database_url, connections=1)

    def found(kind: str, value: str) -> set[int]:
        wanted = search.Wanted(((kind, value),))
        return {one.id for one in search.found(connection, wanted, 5000) if one.event in RETRIEVALS}

    with engine.connect() as connection:
        return {one for study in studies for one in found("study", study)} - found("patient", patient)


def sealed(site: Site) -> Verified | None:
    """The site's log, verified, if all that is recorded is sealed."""
    verified = verify(site.folder / "data" / "audit", load_certificates(certificate(site)), every_signature=True)
    return verified if verified.records == recorded(site) and verified.records else None


def recorded(site: Site) -> int:
    """How many records the site's database holds."""
    engine = make_engine(site.settings.database_url, connections=1)
    with engine.connect() as connection:
        recorded = count(connection)
    engine.dispose()
    return recorded


def certificate(site: Site) -> Path:
    return site.folder / "data" / "keys" / "audit-signing.crt"
