"""``xds capture``: what a partner really sends, for a limited time, sealed to who may read it, and audited."""

from __future__ import annotations

import getpass
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xds.cli.common import alerted, as_json, database, deployment, print_json, settings, time_of
from xds.errors import Unusable
from xds.settings.sections import Loaded

if TYPE_CHECKING:
    import sqlalchemy as sa

    from xds.store.captures import Captured

CONFIGURED, READ = "110129", "110132"
"""Security Configuration, Use of Restricted Function (DICOM PS3.16: CID 401)."""


@click.group()
def capture() -> None:
    """A partner's messages, captured for a limited time."""


def _hours(text: str) -> float:
    """How long ``30m`` or ``2h`` is.

    Raises:
        Unusable: it is neither.
    """
    match = re.fullmatch(r"([0-9]{1,4})([mh])", text)
    if match is None or not int(match[1]):
        raise Unusable("--for is a number of minutes or hours, such as 30m or 2h")
    return int(match[1]) / (60 if match[2] == "m" else 1)


@capture.command(epilog="Example: xds capture start --sender pacs --for 30m --reason 'ticket 1234' --config xds.toml")
@click.option("--sender", required=True, metavar="NAME", help="Whose messages, by [senders.NAME] of the settings.")
@click.option("--for", "duration", required=True, metavar="TIME", help="For how long: 30m, 2h.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it goes into the audit log.")
@deployment
def start(sender: str, duration: str, reason: str, config: Path | None, data: str | None) -> None:
    """Begin to capture what a sender sends, and what is answered."""
    from xds.store import captures as store
    from xds.store.audit.records import now_microseconds
    from xds.store.captures import Capturing
    from xds.wire.sealing import certificate

    loaded = settings(config, data)
    limits, hours = loaded.settings.capture, _hours(duration)
    if not limits.certificate:
        raise Unusable("capture.certificate is not set: it says who may read what is captured")
    certificate(Path(limits.certificate))
    if sender not in loaded.settings.senders:
        raise Unusable(f"the settings have no sender {sender}")
    if hours > limits.most_hours:
        raise Unusable(f"a capture runs {limits.most_hours:g} hours at the most (capture.most_hours)")
    now = now_microseconds()
    until = now + int(hours * 3600e6)
    begun = Capturing(0, sender, now, until, until + int(limits.keep_hours * 3600e6), getpass.getuser(), reason)
    with database(loaded) as engine, engine.begin() as connection:
        id_ = store.start(connection, begun)
        _recorded(connection, loaded, CONFIGURED, id_, f"capture of {sender} started for {duration}: {reason}")
    click.echo(f"capture {id_} runs until {time_of(until)}")


@capture.command(epilog="Example: xds capture stop 3 --config xds.toml")
@click.argument("id_", metavar="ID", type=int)
@deployment
def stop(id_: int, config: Path | None, data: str | None) -> None:
    """End a capture; its messages are kept until their time is over."""
    from xds.store import captures as store
    from xds.store.audit.records import now_microseconds

    loaded = settings(config, data)
    with database(loaded) as engine, engine.begin() as connection:
        if not store.stop(connection, id_, now_microseconds()):
            raise Unusable(f"no capture {id_} is running")
        _recorded(connection, loaded, CONFIGURED, id_, "capture stopped")
    click.echo("stopped")


@capture.command("list", epilog="Example: xds capture list --json --config xds.toml")
@deployment
@as_json
def list_(config: Path | None, data: str | None, json_: bool) -> None:
    """Print every capture that still has messages or runs."""
    from xds.store import captures as store
    from xds.store.audit.records import now_microseconds

    with database(settings(config, data)) as engine, engine.begin() as connection:
        store.erase(connection, now_microseconds())
        found = store.listed(connection)
    rows = [
        {
            "id": one.id, "sender": one.sender, "started": time_of(one.started), "until": time_of(one.until),
            "kept_until": time_of(one.kept_until), "started_by": one.started_by, "reason": one.reason,
            "messages": one.messages,
        }
        for one in found
    ]  # fmt: skip
    if json_:
        print_json(rows)
        return
    for row in rows:
        click.echo("{id:>4}  {sender:20}  until {until}  {messages:>5} messages  {started_by}: {reason}".format(**row))


@capture.command(epilog="Example: xds capture show 3 --key reader.key --to ./captured --config xds.toml")
@click.argument("id_", metavar="ID", type=int)
@click.option("--key", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="PEM file of the private key of capture.certificate.")  # fmt: skip
@click.option("--to", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the files.")
@deployment
def show(id_: int, key: Path, to: Path, config: Path | None, data: str | None) -> None:
    """Open what a capture holds: a request and a reply file a message, and what came from where."""
    from xds.store import captures as store
    from xds.store.engine import reading

    loaded = settings(config, data)
    with database(loaded) as engine:
        with reading(engine) as connection:
            found = store.messages(connection, id_)
        if not found:
            raise Unusable(f"capture {id_} holds nothing")
        files = _opened(found, loaded, key)
        # Who reads is on record before there is anything to read.
        with engine.begin() as connection:
            _recorded(connection, loaded, READ, id_, f"{len(found)} captured messages read")
    to.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, content in files.items():
        path = to / name
        path.touch(mode=0o600)
        path.write_bytes(content)
    for message in found:
        click.echo(f"{message.id:>6}  {time_of(message.received)}  {message.remote_address:15}  {message.path}")


def _opened(found: Sequence[Captured], loaded: Loaded, key: Path) -> dict[str, bytes]:
    """The contents of the files, by their names."""
    from xds.wire.sealing import certificate, opened

    recipient = certificate(Path(loaded.settings.capture.certificate))
    return {
        f"{message.id:06d}-{kind}.xml": opened(sealed, recipient, key)
        for message in found
        for kind, sealed in (("request", message.request), ("reply", message.reply))
    }


def _recorded(connection: sa.Connection, loaded: Loaded, kind: str, id_: int, what: str) -> None:
    alerted(connection, loaded, getpass.getuser(), kind, f"urn:xds:capture:{id_}", what)
