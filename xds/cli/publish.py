"""``xds publish``: studies by RAD-68, other documents by ITI-41."""

from __future__ import annotations

import mimetypes
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xds.cli.manifest import studies_in
from xds.cli.options import audited
from xds.cli.patient import patient_id
from xds.errors import Unusable

if TYPE_CHECKING:
    from xds.actors.document_source import Content
    from xds.cli.client import Desk
    from xds.imaging.entry import Defaults
    from xds.imaging.group import Study
    from xds.imaging.manifest import Manifest
    from xds.metadata.identifiers import Oid, PatientId
    from xds.metadata.submission import Submission


@click.command(
    epilog="Example: xds publish ./ct --patient 'anna^^^&1.2.3.4&ISO' "
    "--repository http://127.0.0.1:8080/repository --data ./xds-data"
)
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--patient", required=True, metavar="CX", help="The patient as the affinity domain knows them.")
@click.option("--repository", required=True, metavar="URL", help="Where the repository takes ITI-41.")
@audited
def publish(path: Path, patient: str, repository: str, config: Path | None, data: str | None, audit_to: str) -> None:
    """Publish the studies in a folder, a manifest each, or one file as a document."""
    from xds.cli.client import desk

    with desk(config, data, audit_to) as at:
        id_ = patient_id(patient)
        if path.is_dir():
            _studies(at, path, id_, repository)
        else:
            _file(at, path, id_, repository)


def _defaults(at: Desk) -> Defaults:
    from xds.imaging.entry import Defaults
    from xds.metadata.identifiers import Oid, new_oid

    authorities = at.settings.domain.assigning_authorities
    return Defaults(authority=Oid(authorities[0]) if authorities else new_oid())


def _source_id(at: Desk) -> Oid:
    from xds.metadata.identifiers import Oid, new_oid

    return Oid(at.settings.imaging_source.retrieve_location_uid) or new_oid()


def _studies(at: Desk, folder: Path, id_: PatientId, repository: str) -> None:
    for study in studies_in(folder, at.settings.imaging_source.timezone):
        manifest = publish_study(at, study, id_, repository)
        uid = study.study_instance_uid
        click.echo(f"published {uid}: {manifest.count} instances, manifest {manifest.sop_instance_uid}")


def publish_study(at: Desk, study: Study, id_: PatientId, repository: str) -> Manifest:
    """RAD-68: a study's manifest, sent and acknowledged.

    Raises:
        Refused, NoReply, Faulted: it was not.
    """
    from xds.actors.document_source import imaging_submission
    from xds.server.archives import manifest_for

    manifest = manifest_for(study, at.settings)
    value, content = imaging_submission(study, manifest, id_, _source_id(at), _defaults(at))
    _send(at, value, content, repository, imaging=True)
    at.published(study.study_instance_uid, str(id_))
    return manifest


def _send(at: Desk, value: Submission, content: Content, repository: str, *, imaging: bool) -> None:
    from xds.actors.document_source import provide
    from xds.transactions.iti41_provide_and_register_document_set_b import RAD_68
    from xds.transactions.iti41_provide_and_register_document_set_b import TRANSACTION as ITI_41
    from xds.wire.spool import Spool

    transaction = RAD_68 if imaging else ITI_41
    with at.transaction(transaction, repository) as event, tempfile.TemporaryDirectory() as folder:
        event.about_patient(str(value.submission_set.patient_id))
        event.about_submission_set(value.submission_set.unique_id)
        with Spool(Path(folder)) as spool:
            for warning in provide(at.client(at.peer(repository)), transaction.action, value, [content], spool):
                click.echo(f"warning: {warning.code}: {warning.context}", err=True)


def _file(at: Desk, path: Path, id_: PatientId, repository: str) -> None:
    """Any document: what it is, its name says; what else is required, the domain's defaults say."""
    from xds.actors.document_source import CONTENT_TYPE, Content, submission
    from xds.metadata import to_ebxml
    from xds.metadata.datatypes import Author, Code, Dtm, Xon
    from xds.metadata.document_entry import DocumentEntry
    from xds.metadata.identifiers import EntryUuid, UniqueId, new_oid

    mime_type = mimetypes.guess_type(path.name)[0]
    if mime_type is None:
        raise Unusable(f"{path}: its name does not say what kind of document it is")
    content, defaults = Content.of_file(path), _defaults(at)
    entry = DocumentEntry(
        entry_uuid=EntryUuid("document"),
        unique_id=UniqueId(new_oid()),
        patient_id=id_,
        class_code=defaults.class_code,
        type_code=defaults.type_code,
        # ITI TF-3: 4.2.3.2.9, where the media type says it all.
        format_code=Code("urn:ihe:iti:xds:2017:mimeTypeSufficient", "1.3.6.1.4.1.19376.1.2.3", "mimeType Sufficient"),
        healthcare_facility_type_code=defaults.healthcare_facility_type_code,
        practice_setting_code=defaults.practice_setting_code,
        confidentiality_code=(defaults.confidentiality_code,),
        language_code=defaults.language_code,
        mime_type=mime_type,
        source_patient_id=id_,
        creation_time=Dtm.of(datetime.fromtimestamp(path.stat().st_mtime, UTC)),
        hash=content.sha1,
        size=content.size_bytes,
        author=(Author(None, (Xon(at.settings.audit.enterprise_site_id or "unknown"),)),),
        title=to_ebxml.text(path.name[:120]),
    )
    value = submission([entry], id_, _source_id(at), CONTENT_TYPE)
    _send(at, value, content, repository, imaging=False)
    click.echo(f"published {path.name}: document {entry.unique_id}")
