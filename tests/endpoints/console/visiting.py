"""Somebody who has signed in at a site's console already, as tests of its pages need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from playwright.sync_api import Page

from tests.server.test_application import Site
from xds.endpoints.console.signing_in import COOKIE
from xds.store import accounts


def session(site: Site, role: str = "viewer", name: str = "vera") -> str:
    """The token of a new session."""
    with site.application.engine.begin() as connection:
        accounts.add(connection, name, role, "")
        return accounts.begin(connection, name)


def opened(site: Site, path: str, headers: Mapping[str, str] | None = None, *, role: str = "viewer") -> Any:
    """The answer to somebody who has signed in.

    Raises:
        HTTPError: it is none.
    """
    name = "vera" if role == "viewer" else role
    token = session(site, role, name)
    cookie = {"Cookie": f"{COOKIE}={token}; __Host-{COOKIE}={token}"}  # whichever way the site is reached
    return urlopen(Request(site.url + path, headers={**cookie, **(headers or {})}))  # noqa: S310


def got(site: Site, path: str, *, role: str = "viewer") -> tuple[int, str]:
    """Status and page."""
    try:
        with opened(site, path, role=role) as reply:
            return reply.status, reply.read().decode()
    except HTTPError as problem:
        return problem.code, problem.read().decode()


def sign_in(page: Page, site: Site, role: str = "viewer") -> None:
    """Let a browser have a session."""
    cookie: Any = {"name": COOKIE, "value": session(site, role), "url": f"{site.url}/console/"}
    page.context.add_cookies([cookie])
