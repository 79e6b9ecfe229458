"""What this deployment's images are read from, and put into: a folder, or a PACS."""

from __future__ import annotations

import logging
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from xds.archives import cache_index
from xds.archives.cache import Cache
from xds.archives.dicomweb import DicomWebWay
from xds.archives.folder import FolderArchive
from xds.archives.intake import Intake
from xds.archives.interface import Archive
from xds.archives.leftovers import swept
from xds.archives.orthanc import OrthancStamps
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


def archive(settings: Settings, *, cached: bool = True) -> Archive | None:
    """The images of this deployment, where it has any; ``cached``: by way of the cache, where the settings want one.

    Raises:
        Unusable: the folder is not there, its index or the spool cannot be made, there are several archives, or one
            is malformed; a cache is wanted that makes no sense.
    """
    imaging = settings.imaging_source
    if sum(map(bool, (imaging.folder, imaging.dicomweb, imaging.dimse))) > 1:
        raise Unusable("imaging_source: folder, dicomweb or dimse, one of them")
    kept = cache(settings)
    try:
        way = _way(settings)
        if way is not None:
            stamps = OrthancStamps(web(settings, imaging.orthanc)).of if imaging.orthanc and kept else None
            return Pacs(
                way, settings.data / "spool", zone=imaging.timezone, known_seconds=imaging.pacs_seconds,
                cache=kept if cached else None, stamps=stamps,
            )  # fmt: skip
        if not imaging.folder:
            return None
        return FolderArchive(
            Path(imaging.folder), settings.data / "images.sqlite", settings.data / "spool", zone=imaging.timezone
        )
    except (OSError, ValueError) as problem:
        raise Unusable(f"imaging_source: {problem}") from None


def cache_folder(settings: Settings) -> Path:
    """Where instances from a PACS are kept."""
    return settings.data / "cache"


def cache(settings: Settings) -> Cache | None:
    """What keeps instances from a PACS, where the settings want it.

    Raises:
        Unusable: it makes no sense.
    """
    imaging = settings.imaging_source
    if not imaging.cache_bytes:
        return None
    if imaging.cache_bytes < 0 or not 0 < imaging.cache_seconds < float("inf"):
        raise Unusable("imaging_source: cache_bytes is 0 or more, and cache_seconds more than 0")
    if not (imaging.dicomweb or imaging.dimse):
        raise Unusable("imaging_source.cache_bytes is for images of a PACS (dicomweb, dimse): a folder is on disk")
    disk = Reserve(settings.server.least_free_bytes, settings.data)
    of = f"{imaging.dicomweb or imaging.dimse} {imaging.orthanc}"
    return Cache(cache_folder(settings), imaging.cache_bytes, imaging.cache_seconds, made_of=of, disk=disk)


def tidy_cache(settings: Settings) -> None:
    """At a start: what a process that was killed has left there goes; where no cache is wanted any more, all of it."""
    found = cache(settings)
    if found is None:
        cache_index.remove_all(cache_folder(settings))
        return
    found.tidy()
    found.close()


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
