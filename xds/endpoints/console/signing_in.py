"""Signing in at the console: own accounts, sessions that end, and who may see which pages.

Where there is no account yet all of it is closed, and says by which command the first is made.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, Response, g, redirect, render_template, request
from werkzeug.wrappers import Response as Reply

from xds.audit.messages.people import Person, asked_by
from xds.endpoints.console.desk import Desk, KeptOut, NoSecondFactor
from xds.endpoints.console.passwords import Busy
from xds.endpoints.console.trouble import trouble

COOKIE, FORM = "xds-session", "xds-form"
OPEN = ("/console/static/", "/console/sign-in")

_IMAGES = frozenset({"viewer", "operator", "administrator"})

# Which roles see what begins so; anything else of the console is for everybody who has signed in.
ROLES = {
    "/console/audit": frozenset({"auditor"}),
    "/console/apart": frozenset({"operator", "administrator"}),
    "/console/merges": frozenset({"operator", "administrator"}),
    "/console/consents": frozenset({"privacy-officer"}),
    "/console/overrides": frozenset({"privacy-officer"}),
    "/console/studies": _IMAGES,
    "/console/patients": _IMAGES,
    "/console/manifests": _IMAGES,
    "/console/priors": _IMAGES,
}


def pages(
    desk: Desk, visitor: Callable[[str, str], Person], *, secure: bool, provider: str = ""
) -> Blueprint:  # fmt: skip
    """The pages, and the guard of all others; ``visitor`` is who somebody is, by the name and role of their account.

    ``secure``: browsers reach the server by https; ``provider`` is what an OpenID provider is called, if there is one.
    """
    blueprint = Blueprint("signing_in", __name__)

    @blueprint.before_app_request
    def guard() -> Any:
        path = request.path
        g.visitor, g.secure = None, secure
        if not path.startswith("/console") or path.startswith(OPEN):
            return None
        g.visitor = desk.visitor(session_token())
        wanted = next((roles for begin, roles in ROLES.items() if path.startswith(begin)), frozenset())
        if g.visitor is None:
            query = request.query_string.decode("ascii", "replace")
            target = path + (f"?{query}" if query else "")
            lost = {}
            if request.method == "POST":
                target = local(request.form.get("to", ""))
                lost = {} if path == "/console/find" else {"lost": "1"}
            return redirect(f"/console/sign-in?{urlencode({'next': target, **lost})}")
        # Whatever is looked at for them names them in its records.
        g.asked = asked_by(visitor(g.visitor.name, g.visitor.role))
        g.asked.__enter__()
        if wanted and g.visitor.role not in wanted:
            desk.not_allowed(g.visitor.name, request.remote_addr or "", path)
            return trouble("This page is for another role than yours. That you asked for it is on record.", 403)
        return None

    @blueprint.teardown_app_request
    def nobody(_problem: BaseException | None) -> None:
        if "asked" in g:
            g.pop("asked").__exit__(None, None, None)

    @blueprint.after_app_request
    def private(response: Response) -> Response:
        if request.path.startswith("/console") and not request.path.startswith("/console/static/"):
            response.headers.setdefault("Cache-Control", "no-store")  # pictures stay a while, until the sign-out
        return response

    @blueprint.app_context_processor
    def visiting() -> dict[str, Any]:
        return {"visitor": g.get("visitor"), "form_token": _form_token(session_token())}

    @blueprint.get("/console/sign-in")
    def form() -> Reply:
        lost = "lost" in request.args
        return _form("Your session had ended: what you sent was not kept. Please do it again." if lost else "", 200)

    def _form(wrong: str, status: int) -> Reply:
        token = request.cookies.get(cookie(FORM), "") or secrets.token_urlsafe(24)
        page = render_template(
            "sign_in.html", token=token, next=local(request.values.get("next", "")), wrong=wrong,
            no_account=not desk.any_account(), provider=provider,
        )  # fmt: skip
        return with_cookie(Response(page, status), FORM, token)

    @blueprint.post("/console/sign-in")
    def sign_in() -> Any:
        # Before there is a session, the token is in the form and in a cookie.
        planted = request.cookies.get(cookie(FORM), "")
        if not _from_here() or not planted or not _same(planted, request.form.get("token", "")):
            return _form("The form was too old. Please try again.", 400)
        name, password = request.form.get("name", "")[:64], request.form.get("password", "")[:1024]
        before, code = session_token(), request.form.get("code", "")[:16]
        try:
            token = "" if "\0" in name else desk.sign_in(name, password, request.remote_addr or "", before, code)
        except Busy:
            return _form("Many people are signing in just now. Please try again.", 503)
        except KeptOut:
            return _form("Too many wrong passwords came from your address. Please wait some minutes.", 429)
        except NoSecondFactor:
            return _form("Your role needs a second factor: ask for xds user second-factor with your name.", 403)
        if not token:
            return _form("The name or the password is wrong, or the code, or there were too many tries.", 403)
        # A session is always a new one: what a browser had before is worth nothing.
        return with_cookie(redirect(local(request.form.get("next", "")), 303), COOKIE, token)

    @blueprint.post("/console/sign-in/out")
    def sign_out() -> Any:
        if not from_our_form():
            return _form("The form was too old. Please try again.", 400)
        desk.sign_out(session_token(), request.remote_addr or "")
        response = redirect("/console/sign-in", 303)
        without_cookie(response, COOKIE)
        response.headers["Clear-Site-Data"] = '"cache"'
        return response

    return blueprint


def cookie(name: str) -> str:
    """What a cookie is called: by https so that no neighbouring host, nor plain http, can set it."""
    return f"__Host-{name}" if by_https() else name


def session_token() -> str:
    """The token of the session that a browser says it has."""
    return request.cookies.get(cookie(COOKIE), "")


def with_cookie(
    response: Reply, name: str, value: str, *, samesite: str = "Strict", max_age: int | None = None
) -> Reply:
    """With a cookie that no script can read, and that no address outside the console looks at."""
    response.set_cookie(
        cookie(name), value, max_age, httponly=True, samesite=samesite, secure=by_https(), path=_path()
    )  # fmt: skip
    return response


def without_cookie(response: Reply, name: str) -> None:
    """With that cookie gone."""
    response.delete_cookie(cookie(name), path=_path(), secure=by_https(), httponly=True)


def _path() -> str:
    return "/" if by_https() else "/console"  # __Host- is for whole hosts


def _form_token(session: str) -> str:
    """What a session's forms hold: nobody makes it without the session's own token."""
    return hashlib.sha256(f"form\0{session}".encode()).hexdigest() if session else ""


def from_our_form() -> bool:
    """Whether a form is one that this browser was given in this session (against CSRF)."""
    session = session_token()
    return _from_here() and bool(session) and _same(_form_token(session), request.form.get("token", ""))


def _from_here() -> bool:
    """Whether a form stands on a page of ours, as far as the browser says where it stands."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        return site in ("same-origin", "none")
    return origin is None or urlsplit(origin).netloc == request.host


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def by_https() -> bool:
    """Whether the browser reached us, or a proxy of ours, by https."""
    return bool(g.get("secure")) or request.is_secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"


def local(target: str) -> str:
    """A page of the console, and never another site."""
    fine = target.startswith("/console") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if fine else "/console"
