"""``xds audit verify``: that nothing in the log was changed, against what is trusted."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xds.cli.common import as_json, database, deployment, existing, print_json, settings
from xds.cli.stored import fetched
from xds.errors import Unusable
from xds.settings.sections import Loaded

if TYPE_CHECKING:
    from cryptography import x509

    from xds.audit.log.checkpoint import Checkpoint


def _kept(signed: bytes) -> Checkpoint:
    """The database's last checkpoint, which the files must still begin with.

    Raises:
        Tampered: it is no checkpoint any more.
    """
    from xds.audit.log.checkpoint import BadCheckpoint, read
    from xds.audit.log.verify import Tampered

    try:
        return read(signed)
    except BadCheckpoint as problem:
        raise Tampered(6, None, f"the database's last checkpoint: {problem}") from None


def certificates(loaded: Loaded, given: Path | None) -> list[x509.Certificate]:
    from xds.audit.log.keys import load_certificates, log_certificates

    return load_certificates(given) if given else log_certificates(loaded.settings)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise Unusable(f"{path}: {problem.strerror}") from None


def _trusted(path: Path) -> bytes:
    """A checkpoint that was verified before.

    Raises:
        Unusable: it cannot be read, or is none.
    """
    from xds.audit.log.checkpoint import BadCheckpoint, read

    data = _read(path)
    try:
        read(data)
    except BadCheckpoint as problem:
        raise Unusable(f"{path}: {problem}") from None
    return data


def _seen(where: str, loaded: Loaded, folder: Path) -> bytes:
    """What a witness has seen of a log.

    Raises:
        Unusable: it does not say, or has seen nothing.
    """
    from xds.audit.log.checkpoint import BadCheckpoint, CheckpointLog, read
    from xds.audit.log.framing import BadFrame
    from xds.audit.log.witness import NotWitnessed
    from xds.initiating.witnesses import witness_at

    try:
        last = CheckpointLog(folder / "checkpoints").first()
        if last is None:
            raise Unusable("the log has no checkpoint")
        where = where if where.startswith(("http:", "https:", "file:")) else f"file:{where}"
        seen = witness_at(where, loaded.settings.tls, lambda: ()).last(read(last).log_id)
    except (NotWitnessed, BadFrame, BadCheckpoint) as problem:
        raise Unusable(f"the witness {where}: {problem}") from None
    if seen is None:
        raise Unusable(f"the witness {where} has seen nothing of this log")
    return seen


@click.command(epilog="Example: xds audit verify --data ./xds-data")
@deployment
@as_json
@click.option("--log", metavar="DIR", type=click.Path(path_type=Path), help="The log's folder; else the deployment's.")
@click.option("--stored", is_flag=True, help="The log as audit.object_store has it, not the deployment's files.")
@click.option("--log-id", default="", metavar="OID", help="With --stored: another log there, such as another node's.")
@click.option("--certificate", metavar="FILE", type=click.Path(path_type=Path), help="Trust these instead.")
@click.option("--every-signature", is_flag=True, help="Verify every checkpoint's signature, not only the last.")
@click.option("--witness", "witnesses", metavar="FILE|URL", multiple=True,
              help="Hold it against what a witness has seen: its file, or its /audit/witness.")  # fmt: skip
@click.option("--trusted", metavar="FILE", type=click.Path(path_type=Path),
              help="Go on from this checkpoint, which was verified before.")  # fmt: skip
@click.option("--keep", metavar="FILE", type=click.Path(path_type=Path),
              help="Write the last checkpoint there, to be --trusted the next time.")  # fmt: skip
@click.option("--database", "with_database", is_flag=True, help="Compare the database's rows with the files too.")
@click.option("--index", "with_index", is_flag=True, help="And whether each is found by what it says.")
def verify(
    config: Path | None,
    data: str | None,
    json_: bool,
    log: Path | None,
    stored: bool,
    log_id: str,
    certificate: Path | None,
    every_signature: bool,
    witnesses: tuple[str, ...],
    trusted: Path | None,
    keep: Path | None,
    with_database: bool,
    with_index: bool,
) -> None:
    """Verify the log by its files and the public certificate; exit code 1 if it has been tampered with."""
    if (stored and log) or (log_id and not stored):
        raise click.UsageError("--log or --stored; --log-id only with --stored")
    with ExitStack() as stack:
        if stored:
            log = stack.enter_context(fetched(existing(config, data), log_id))
        _verify(
            config, data, json_, log, certificate, every_signature, witnesses, trusted, keep, with_database, with_index,
            lags=stored,
        )  # fmt: skip


def _verify(
    config: Path | None, data: str | None, json_: bool, log: Path | None, certificate: Path | None,
    every_signature: bool, witnesses: tuple[str, ...], trusted: Path | None, keep: Path | None, with_database: bool,
    with_index: bool, *, lags: bool,
) -> None:  # fmt: skip
    from rich.console import Console
    from rich.progress import Progress

    from xds.audit.log import index_check
    from xds.audit.log import verify as checks
    from xds.audit.log.segments import as_leaf
    from xds.audit.log.verify import Tampered
    from xds.store.audit import records as store
    from xds.store.engine import reading

    # The files are enough, such as a copy of them elsewhere; the database is a deployment's.
    with_files = not (with_database or with_index)
    loaded = settings(config, data, made=False) if with_files else existing(config, data)
    folder = log or loaded.settings.data / "audit"
    if not (folder / "checkpoints").is_dir():
        raise Unusable(f"{folder} holds no audit log")
    try:
        with Progress(console=Console(stderr=True), transient=True, disable=json_) as bar:
            task = bar.add_task("records", total=None)
            found = checks.verify(
                folder,
                certificates(loaded, certificate),
                every_signature=every_signature,
                trusted=_trusted(trusted) if trusted else None,
                witnessed=[_seen(where, loaded, folder) for where in witnesses],
                progress=lambda count: bar.update(task, completed=count),
            )
        if with_database or with_index:
            with database(loaded) as engine, reading(engine) as connection:
                kept = store.last_checkpoint(connection)
                if kept is not None and lags and kept[0] > found.records:
                    kept = None  # what was sealed last is not in the object store yet
                rows = map(as_leaf, store.all_numbered(connection))
                checks.compare(folder, rows, None if kept is None else _kept(kept[1]))
                if with_index:
                    index_check.check(connection)
    except Tampered as problem:
        if json_:
            print_json({"holds": False, "step": problem.step, "record": problem.leaf, "reason": problem.reason})
        else:
            click.echo(f"TAMPERED: {problem}", err=True)
        sys.exit(1)
    if keep:
        try:
            keep.write_bytes(found.signed)
        except OSError as problem:
            raise Unusable(f"{keep}: {problem.strerror}") from None
    if json_:
        print_json({"holds": True, "records": found.records, "checkpoints": found.checkpoints,
                    "unsealed": found.unsealed, "erased": found.erased})  # fmt: skip
        return
    last = f", the last at {found.last.time:%Y-%m-%d %H:%M:%S} UTC" if found.last else ""
    erased = f", of which {found.erased} were erased" if found.erased else ""
    click.echo(f"the log holds: {found.records} records{erased} under {found.checkpoints} checkpoints{last}"
               f"{f'; {found.unsealed} wait for the next' if found.unsealed else ''}")  # fmt: skip
