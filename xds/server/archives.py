"""What this deployment's images are read from, and put into: a folder, or a PACS."""

from __future__ import annotations

import logging
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from xds.archives.dicomweb import DicomWebWay
from xds.archives.folder import FolderArchive
from xds.archives.intake import Intake
from xds.archives.interface import Archive
from xds.archives.leftovers import swept
from xds.archives.pacs import Pacs, Way
from xds.archives.web import Web
from xds.audit.messages.events import source_of
from xds.endpoints.apart import Apart
from xds.errors import Unusable
from xds.imaging.group import Study
from xds.imaging.manifest import Manifest
from xds.imaging.study import manifest_of
from xds.settings.sections import Settings
from xds.store.apart import Bounds
from xds.system.disk import Reserve

log = logging.getLogger("xds.server.archives")


def archive(settings: Settings) -> Archive | None:
    """The images of this deployment, where it has any.

    Raises:
        Unusable: the folder is not there, its index or the spool cannot be made, there are several archives, or one
            is malformed.
    """
    imaging = settings.imaging_source
    if sum(map(bool, (imaging.folder, imaging.dicomweb, imaging.dimse))) > 1:
        raise Unusable("imaging_source: folder, dicomweb or dimse, one of them")
    try:
        way = _way(settings)
        if way is not None:
            seconds = imaging.pacs_seconds
            return Pacs(way, settings.data / "spool", zone=imaging.timezone, known_seconds=seconds)
        if not imaging.folder:
            return None
        return FolderArchive(
            Path(imaging.folder), settings.data / "images.sqlite", settings.data / "spool", zone=imaging.timezone
        )
    except (OSError, ValueError) as problem:
        raise Unusable(f"imaging_source: {problem}") from None


def intake(settings: Settings) -> Intake:
    """What takes instances into the folder.

    Raises:
        Unusable: there is no folder.
    """
    images = archive(settings)
    if not isinstance(images, FolderArchive):
        raise Unusable("imaging_source.stow_rs and cstore_listen take instances into imaging_source.folder: set it")
    disk = Reserve(settings.server.least_free_bytes, settings.data, images.root)
    taking = Intake(images, from_all=settings.imaging_source.study_senders == "all", disk=disk)
    removed = swept(taking.incoming)
    if removed:
        log.info("intake.swept", extra={"removed": removed})
    return taking


def apart(settings: Settings, engine: sa.Engine, taking: Intake) -> Apart:
    """What is set apart from the folder; what a process that was killed has left half done is finished."""
    imaging = settings.imaging_source
    bounds = Bounds(
        imaging.apart_instances, imaging.apart_bytes, imaging.apart_peer_instances, imaging.apart_peer_bytes
    )  # fmt: skip
    found = Apart(engine, taking, source_of(settings), bounds)
    try:
        count = found.recovered()
        if count:
            log.info("apart.recovered", extra={"files": count})
    except SQLAlchemyError:
        log.exception("apart.not_recovered")  # by the next start, then: nobody finds what lies there
    return found


def _way(settings: Settings) -> Way | None:
    """How the PACS is spoken to, where the images are in one."""
    imaging = settings.imaging_source
    if imaging.dicomweb:
        return DicomWebWay(web(settings, imaging.dicomweb))
    if imaging.dimse:
        from xds.archives.dimse import DimseWay  # late: few have a PACS that speaks nothing else
        from xds.archives.dimse import Peer as DimsePeer

        title, port = imaging.retrieve_ae_title, imaging.dimse_move_port
        peer = DimsePeer.parse(imaging.dimse, own_title=title, move_port=port, seconds=imaging.pacs_seconds)
        return DimseWay(peer)
    return None


def web(settings: Settings, url: str) -> Web:
    """A PACS' web service, called with this node's certificate."""
    tls, seconds = settings.tls, settings.imaging_source.pacs_seconds
    return Web(url, certificate=tls.certificate, key=tls.key, trusted=tls.trusted, seconds=seconds)


def manifest_for(study: Study, settings: Settings) -> Manifest:
    """A study's manifest, as this deployment's Imaging Document Source promises it."""
    source = settings.imaging_source
    return manifest_of(
        study,
        retrieve_location_uid=source.retrieve_location_uid,
        retrieve_ae_title=source.retrieve_ae_title,
        retrieve_url=source.retrieve_url,
    )
