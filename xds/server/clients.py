"""Whom this deployment calls: clients of other nodes, and of the actors in this process."""

from __future__ import annotations

from collections.abc import Callable

from xds.access.vouching import Voucher
from xds.actors.remote_registry import RemoteRegistry
from xds.initiating.imaging_document_consumer import Peers
from xds.settings.sections import Location, Settings
from xds.transactions import (
    iti18_registry_stored_query,
    iti42_register_document_set_b,
)
from xds.wire.calls import host_of
from xds.wire.client import Client, LocalClient
from xds.wire.http import HttpReply, HttpRequest


def called(settings: Settings) -> dict[str, str]:
    """What others are called, by host and port."""
    tables = (settings.repositories, settings.imaging_sources)
    found = {host_of(one.url): one.name for table in tables for one in table.values() if one.name}
    urls = (
        (url, name)
        for name, one in settings.communities.items()
        for url in (*one.query, *one.retrieve, *one.images, *one.discover)
    )
    return {**{host_of(url): name for url, name in urls}, **found}


def client(settings: Settings, url: str, voucher: Voucher | None = None) -> Client:
    """A client of another node's, with this node's certificate."""
    tls, vouched = settings.tls, voucher.header_blocks if voucher is not None else None
    return Client(url, certificate=tls.certificate, key=tls.key, trusted=tls.trusted, vouched=vouched)


def remote_registry(settings: Settings) -> RemoteRegistry | None:
    """The registry elsewhere that ITI-42 goes to, where there is one."""
    url, tls = settings.repository.registry_url, settings.tls
    if not url:
        return None
    seconds = settings.repository.registry_seconds
    waiting = Client(url, certificate=tls.certificate, key=tls.key, trusted=tls.trusted, seconds=seconds)
    return RemoteRegistry(
        waiting,
        iti42_register_document_set_b.TRANSACTION.action,
        iti18_registry_stored_query.TRANSACTION.action,
    )


def peers(settings: Settings, answer: Callable[[HttpRequest], HttpReply | None], base: str) -> Peers:
    """Who is asked for studies; ``answer`` is that of the actors in this process, ``base`` their address.

    Others are told who has signed in here.
    """
    voucher = Voucher(settings)

    def local(actor: str) -> Client | None:
        def reply(request: HttpRequest) -> HttpReply:
            replied = answer(request)
            assert replied is not None  # noqa: S101  a POST to an actor that is served
            return replied

        return LocalClient(f"{base}/{actor}", f"/{actor}", reply) if actor in settings.server.actors else None

    def remote(peer: Location | None) -> Client | None:
        if peer is None:
            return None
        known = peer.or_by(settings.tls)
        return Client(
            known.url, certificate=known.certificate, key=known.key, trusted=known.trusted,
            vouched=voucher.header_blocks,
        )  # fmt: skip

    def repository(uid: str) -> Client | None:
        own = settings.repository
        ours = uid == own.unique_id or (uid in own.also and uid not in settings.repositories)
        return local("repository") if ours else remote(settings.repositories.get(uid))

    def source(uid: str) -> Client | None:
        own = settings.imaging_source
        ours = uid == own.retrieve_location_uid or (uid in own.also and uid not in settings.imaging_sources)
        return local("imaging-source") if ours else remote(settings.imaging_sources.get(uid))

    url = settings.console.registry_url
    asked = client(settings, url, voucher) if url else local("gateway") or local("registry")
    return Peers(asked, repository, source)
