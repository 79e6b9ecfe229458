"""The site that peers visit: every actor on, patients by the feed, images of pydicom's own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom

from tests.builders import AUTHORITY
from tests.hostile.server import Served, free_port
from tests.imaging.images import PYDICOM_FILES

HOME, REPOSITORY, SOURCE = "1.3.6.1.4.1.99999.1", "1.3.6.1.4.1.99999.2", "1.3.6.1.4.1.99999.3"
IMAGES = ("CT_small.dcm", "MR_small.dcm")


@contextmanager
def site_for_ipf(folder: Path) -> Iterator[Path]:
    """A server that runs meanwhile; yields the file that tells the journey about it."""
    images = folder / "images"
    images.mkdir()
    mllp, syslog = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    served = Served(folder, {
        "domain": {"patients": "feed", "home_community_id": f"urn:oid:{HOME}"},
        "repository": {"unique_id": REPOSITORY},
        "imaging_source": {"folder": str(images), "retrieve_location_uid": SOURCE},
        "mllp": {"listen": mllp},
        "syslog": {"udp": syslog},
        "audit": {"readers": ["127.0.0.1"]},
    })  # fmt: skip
    told = {
        "address": f"127.0.0.1:{served.port}", "secure": "false", "mllp": mllp, "syslog": syslog,
        "authority": AUTHORITY, "home": f"urn:oid:{HOME}", "repository": REPOSITORY, "source": SOURCE,
        "images": " ".join(_copied(images)),
    }  # fmt: skip
    properties = folder / "site.properties"
    properties.write_text("".join(f"{key}={value}\n" for key, value in told.items()), "utf-8")
    served.start()
    try:
        yield properties
    finally:
        served.stop()


def _copied(images: Path) -> Iterator[str]:
    """The ids of each image, once it is in the folder."""
    for title in IMAGES:
        path = Path(shutil.copy(PYDICOM_FILES / "test_files" / title, images))
        header = pydicom.dcmread(path, stop_before_pixels=True)
        yield f"{header.StudyInstanceUID}/{header.SeriesInstanceUID}/{header.SOPInstanceUID}"
