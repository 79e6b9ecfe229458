"""``xds manifest``: KOS manifests made, shown and checked."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xds.cli.common import as_json, deployment, print_json, settings
from xds.errors import Unusable

if TYPE_CHECKING:
    from xds.imaging.group import Study
    from xds.imaging.manifest import Manifest


@click.group()
def manifest() -> None:
    """KOS manifests: make, show, check."""


def studies_in(folder: Path, zone: str) -> tuple[Study, ...]:
    """The studies of a folder; what is left out is said on standard error, file by file.

    Raises:
        Unusable: the folder is not there, or holds no study.
    """
    from xds.imaging.study import scan

    if not folder.is_dir():
        raise Unusable(f"{folder} is no folder")
    found = scan(folder, zone=zone)
    for problem in found.problems:
        click.echo(f"left out: {problem.path}: {problem.message}", err=True)
    if not found.studies:
        raise Unusable(f"{folder} holds no study that could be listed")
    return found.studies


@manifest.command(epilog="Example: xds manifest make ./ct --out ct.kos.dcm --data ./xds-data")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", required=True, metavar="FILE", type=click.Path(path_type=Path), help="The file to write.")
@deployment
def make(folder: Path, out: Path, config: Path | None, data: str | None) -> None:
    """Make the manifest of the study in FOLDER."""
    from xds.imaging import kos
    from xds.server.archives import manifest_for

    loaded = settings(config, data).settings
    studies = studies_in(folder, loaded.imaging_source.timezone)
    if len(studies) > 1:
        raise Unusable(f"{folder} holds {len(studies)} studies, and a manifest lists one; name the folder of one study")
    value = manifest_for(studies[0], loaded)
    out.write_bytes(kos.write(value))
    click.echo(f"{out}: {value.count} instances in {len(value.series)} series")


@manifest.command(epilog="Example: xds manifest show ct.kos.dcm --json")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@as_json
def show(file: Path, json_: bool) -> None:
    """Print what FILE lists, and where each part lives."""
    from xds.imaging import kos

    try:
        value = kos.read(file.read_bytes())
    except kos.NotAManifest as problem:
        raise Unusable(f"{file}: {problem}") from None
    if json_:
        print_json(_plain(value))
        return
    click.echo(f"{value.title.meaning}, study {value.study_instance_uid}, made {value.created:%Y-%m-%d %H:%M} UTC")
    for series in value.series:
        click.echo(f"  series {series.series_instance_uid} at {series.retrieve_location_uid or 'nowhere'}")
        for instance in series.instances:
            click.echo(f"    {instance.sop_instance_uid}")


def _plain(value: Manifest) -> dict[str, Any]:
    plain = dataclasses.asdict(value)
    plain["created"] = value.created.isoformat()
    return plain


@manifest.command(epilog="Example: xds manifest check ct.kos.dcm")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@as_json
def check(file: Path, json_: bool) -> None:
    """Hold FILE to the rules of a KOS manifest; exit code 1 if it breaks one."""
    from xds.imaging import kos

    findings = kos.check(file.read_bytes())
    if json_:
        print_json([{"code": f.code, "context": f.context} for f in findings])
    else:
        click.echo("\n".join(f.context for f in findings) or f"{file}: a good manifest")
    sys.exit(1 if findings else 0)
