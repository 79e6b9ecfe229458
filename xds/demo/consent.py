"""The demo's patient withholds a study; the doctor does not see it, breaks the glass, and that is seen at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from xds.access.consent import Directive
from xds.access.directives import set_directive, withdraw
from xds.demo.identity import EMERGENCY, REASON
from xds.metadata.identifiers import PatientId
from xds.settings.sections import DEFAULT_DOMAIN
from xds.store import consents
from xds.store.engine import make_engine
from xds.store.registry import patients


@dataclass(frozen=True, slots=True)
class Withholding:
    """A study of a patient, withheld from the clinic at the registry whose database this is."""

    database_url: str
    patient_id: PatientId
    study_instance_uid: str

    def tried(
        self, finds: Callable[[], set[str]], waited: Callable[[Callable[[], object]], object], doctor: Path
    ) -> str:  # fmt: skip
        """What is found before, while it is withheld, and with the glass broken; empty where something does not hold.

        ``finds``: the studies that the doctor at the clinic finds; ``doctor``: the file of their assertion.
        """
        engine = make_engine(self.database_url, connections=1)
        said = doctor.read_bytes()
        try:
            whole = finds()
            id_ = self._set(engine)
            withheld = waited(lambda: finds() == whole - {self.study_instance_uid})
            doctor.write_bytes((doctor.parent / EMERGENCY).read_bytes())
            opened = finds()
            doctor.write_bytes(said)
            listed = self._end(engine, id_)
            if not withheld or opened != whole or not listed:
                return ""
            found = f"the clinic finds {len(whole) - 1} of {len(whole)} studies"
            return f"{found}; with the glass broken all: «{REASON}»"
        finally:
            doctor.write_bytes(said)
            engine.dispose()

    def _set(self, engine: sa.Engine) -> str:
        directive = Directive(
            permit=False, studies=frozenset({self.study_instance_uid}), organisations=frozenset({"Clinic"})
        )  # fmt: skip
        with engine.begin() as connection:
            return set_directive(connection, self._key(connection), directive, "xds demo").id

    def _end(self, engine: sa.Engine, id_: str) -> bool:
        """Let the study be seen again; whether the override is on the privacy officer's list."""
        with engine.begin() as connection:
            withdraw(connection, self._key(connection), id_, "xds demo")
            return any(one.reason == REASON for one in consents.all_broken(connection, most=10, unreviewed=True))

    def _key(self, connection: sa.Connection) -> int:
        key = patients.key_of(connection, DEFAULT_DOMAIN, self.patient_id)
        assert key is not None  # noqa: S101  made known before
        return key
