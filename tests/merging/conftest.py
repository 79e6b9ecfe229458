"""What is merged in these tests, and what it is merged into."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import ANNA, AUTHORITY, BERT
from tests.imaging.images import an_instance, put
from tests.journeys.test_two_image_nodes import refreshed
from tests.merging.south import DORA, EMIL, LOCATION, OLD, SOUTH, Merging
from tests.server.test_application import serving


@pytest.fixture
def merging(
    request: pytest.FixtureRequest, database_url: str, sqlite_template: Path, tmp_path: Path
) -> Iterator[Merging]:
    south, here = tmp_path / "south", tmp_path / "here"
    for folder in (south, here):
        folder.mkdir()
    (south / "xds.sqlite").write_bytes(sqlite_template.read_bytes())
    for number in (1, 2, 3):
        put(south / "images", f"{number}.dcm", an_instance(number))
    (here / "images").mkdir()
    theirs = f'[repository]\nunique_id = "{OLD}"\n[imaging_source]\nretrieve_location_uid = "{LOCATION}"\n'
    theirs += f'folder = "{south / "images"}"\n'
    with serving(f"sqlite:///{south}/xds.sqlite", south, theirs, {"domain.assigning_authorities": (SOUTH,)}) as source:
        refreshed(source)
        text = f"""
[server]
data = "{here}/data"
database = "{database_url}"
[domain]
patients = "open"
assigning_authorities = ["{AUTHORITY}"]
[repository]
also = ["{OLD}"]
[repositories]
"{OLD}" = "{source.url}/repository"
[imaging_source]
folder = "{here}/images"
also = ["{LOCATION}"]
[imaging_sources]
"{LOCATION}" = "{source.url}/imaging-source"
[merges.south]
registry = "{source.url}/registry"
patients = "{here}/patients.csv"
"""
        with serving(database_url, here, text) as target:
            found = Merging(source, target, here, here / "xds.toml")
            found.names((DORA, ANNA), (EMIL, BERT))
            yield found
