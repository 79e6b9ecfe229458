"""Signing in at the console: own accounts, sessions that end, and who may see which pages.

Where there is no account yet, the pages with images are open to whoever reaches the server, as its addresses are; the
audit desk is open to nobody.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, g, redirect, render_template, request
from werkzeug.wrappers import Response as Reply

from xds.audit.messages.codes import Coded
from xds.audit.messages.people import Person, asked_by
from xds.endpoints.console.desk import Busy, Desk
from xds.endpoints.console.trouble import trouble

COOKIE, FORM = "xds-session", "xds-form"
OPEN = ("/console/static/", "/console/sign-in")

# Which roles see what begins so; anything else of the console is for everybody who has signed in.
ROLES = {
    "/console/audit": frozenset({"auditor"}),
    "/console/studies": frozenset({"viewer", "operator"}),
    "/console/patients": frozenset({"viewer", "operator"}),
    "/console/manifests": frozenset({"viewer", "operator"}),
}


def pages(desk: Desk, *, secure: bool, provider: str = "") -> Blueprint:
    """The pages, and the guard of all others.

    ``secure``: browsers reach the server by https; ``provider`` is what an OpenID provider is called, if there is one.
    """
    blueprint = Blueprint("signing_in", __name__)

    @blueprint.before_app_request
    def guard() -> Any:
        path = request.path
        g.visitor = None
        if not path.startswith("/console") or path.startswith(OPEN):
            return None
        g.visitor = desk.visitor(request.cookies.get(COOKIE, ""))
        wanted = next((roles for begin, roles in ROLES.items() if path.startswith(begin)), frozenset())
        if g.visitor is None:
            if not provider and not desk.any_account() and "auditor" not in wanted:
                return None
            query = request.query_string.decode("ascii", "replace")
            target = path + (f"?{query}" if query else "")
            lost = {}
            if request.method == "POST":
                target = local(request.form.get("to", ""))
                lost = {} if path == "/console/find" else {"lost": "1"}
            return redirect(f"/console/sign-in?{urlencode({'next': target, **lost})}")
        # Whatever is looked at for them names them in its records.
        g.asked = asked_by(Person(g.visitor.name, roles=(Coded(g.visitor.role, "xds", g.visitor.role),)))
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
        return {"visitor": g.get("visitor"), "form_token": request.cookies.get(FORM, "")}

    @blueprint.get("/console/sign-in")
    def form() -> Reply:
        lost = "lost" in request.args
        return _form("Your session had ended: what you sent was not kept. Please do it again." if lost else "", 200)

    def _form(wrong: str, status: int) -> Reply:
        # One that the browser has stays: its other pages sign out with it.
        token = request.cookies.get(FORM, "") or secrets.token_urlsafe(24)
        page = render_template(
            "sign_in.html", token=token, next=local(request.values.get("next", "")), wrong=wrong,
            no_account=not desk.any_account(), provider=provider,
        )  # fmt: skip
        return with_cookie(Response(page, status), FORM, token, secure=secure)

    @blueprint.post("/console/sign-in")
    def sign_in() -> Any:
        if not from_our_form():
            return _form("The form was too old. Please try again.", 400)
        name, password = request.form.get("name", "")[:64], request.form.get("password", "")[:1024]
        try:
            before = request.cookies.get(COOKIE, "")
            token = "" if "\0" in name else desk.sign_in(name, password, request.remote_addr or "", before)
        except Busy:
            return _form("Many people are signing in just now. Please try again.", 503)
        if not token:
            return _form("The name or the password is wrong, or the account is locked for a while.", 403)
        # A session is always a new one: what a browser had before is worth nothing.
        return with_cookie(redirect(local(request.form.get("next", "")), 303), COOKIE, token, secure=secure)

    @blueprint.post("/console/sign-in/out")
    def sign_out() -> Any:
        if not from_our_form():
            return _form("The form was too old. Please try again.", 400)
        desk.sign_out(request.cookies.get(COOKIE, ""), request.remote_addr or "")
        response = redirect("/console/sign-in", 303)
        response.delete_cookie(COOKIE, path="/console")
        response.headers["Clear-Site-Data"] = '"cache"'
        return response

    return blueprint


def with_cookie(response: Reply, name: str, value: str, *, secure: bool) -> Reply:
    """With a cookie that goes to this console alone, and that no script can read."""
    https = secure or by_https()
    response.set_cookie(name, value, httponly=True, samesite="Strict", secure=https, path="/console")
    return response


def from_our_form() -> bool:
    """Whether a form is one that this browser was given: the token is in it and in a cookie (against CSRF).

    Somebody at a neighbouring host could plant that cookie: a browser says where a form stands.
    """
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return False
    kept, sent = request.cookies.get(FORM, ""), request.form.get("token", "")
    return bool(kept) and hmac.compare_digest(kept.encode(), sent.encode())


def by_https() -> bool:
    """Whether the browser reached us, or a proxy of ours, by https."""
    return request.is_secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"


def local(target: str) -> str:
    """A page of the console, and never another site."""
    fine = target.startswith("/console") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if fine else "/console"
