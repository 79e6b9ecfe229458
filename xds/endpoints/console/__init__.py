"""Pages and small answers beside SOAP: alive, ready, metrics, and where everything is.  Flask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flask import Blueprint, Flask, Response, render_template, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as Reply

from xds import __version__
from xds.actors.imaging_document_source import ImagingDocumentSource
from xds.audit.messages.plain import visible
from xds.endpoints.console import looking
from xds.endpoints.console.trouble import trouble
from xds.settings.sections import DEFAULT_DOMAIN, Settings
from xds.wire.metrics import Metrics


def make(
    settings: Settings,
    served: Mapping[str, Sequence[str]],
    readiness: Callable[[], tuple[bool, str]],
    metrics: Metrics,
    ask: looking.Ask | None = None,
    source: ImagingDocumentSource | None = None,
    blueprints: Sequence[Blueprint] = (),
    counted_elsewhere: Callable[[], str] = str,
    warnings: Callable[[], Sequence[str]] = list,
) -> Flask:
    """The WSGI application of everything that is not SOAP; ``served`` has the transactions of each path by number.

    ``counted_elsewhere`` are metrics of other processes, as text; ``warnings`` is what an operator should see to.
    ``ask`` answers DICOMweb where there are images to look at, those of ``source``; ``blueprints`` are the rest.
    """
    flask = Flask(__name__, static_url_path="/console/static")
    if ask is not None:
        flask.register_blueprint(looking.pages(ask, source))
    for blueprint in blueprints:
        flask.register_blueprint(blueprint)
    flask.config["MAX_CONTENT_LENGTH"] = 1024 * 1024
    flask.jinja_env.globals["notice"] = settings.console.notice
    flask.jinja_env.globals["has_names"] = any(one.name == "finding" for one in blueprints)

    @flask.get("/healthz")
    def alive() -> Response:
        return _text(200, "alive")

    @flask.get("/readyz")
    def ready() -> Response:
        """Whether this node is ready, and each thing that it depends on."""
        is_ready, said = readiness()
        return _text(200 if is_ready else 503, said)

    @flask.get("/metrics")
    def counted() -> Response:
        return Response(
            metrics.text() + counted_elsewhere().encode(), content_type="text/plain; version=0.0.4; charset=utf-8"
        )

    @flask.get("/")
    @flask.get("/console")
    def front() -> str:
        base = settings.server.public_url or request.host_url.rstrip("/")
        rows = _rows(settings, served)
        names = {one.name for one in blueprints}
        has = {"has_images": ask is not None, "has_region": "region" in names, "has_apart": "setting_apart" in names,
               "has_merges": "merging" in names}  # fmt: skip
        return render_template("front.html", base=base, rows=rows, version=__version__, warnings=warnings(), **has)

    @flask.after_request
    def headers(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    @flask.errorhandler(HTTPException)
    def refused(problem: HTTPException) -> Reply:
        """A page to who looks at pages, a line to all others."""
        status = problem.code or 500
        if status < 400:
            return problem.get_response()
        reason = _REASONS.get(status, "This cannot be done now.")
        if request.path.startswith("/console"):
            return trouble(reason, status)
        return _text(status, reason)

    @flask.template_filter()
    def seen(text: object) -> str:
        return visible(str(text))

    return flask


_REASONS = {
    400: "This is not what the page asks for.", 404: "There is nothing at this address.",
    405: "There is nothing at this address.", 413: "This is more than the server takes at once.",
}  # fmt: skip

# Inline styles are the viewer's zoom; it fetches pictures itself, because an img does not tell why there is none.
_POLICY = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_TITLES = {
    "registry": "Document Registry",
    "repository": "Document Repository",
    "imaging-source": "Imaging Document Source",
    "gateway": "Initiating Gateway",
    "responding-gateway": "Responding Gateway",
}


def _rows(settings: Settings, served: Mapping[str, Sequence[str]]) -> list[tuple[str, str, str, str]]:
    """What the front page lists: actor, its OID, its transactions and its path."""
    rows = []
    for path, numbers in served.items():
        name, _, actor = path.strip("/").rpartition("/")
        domain = settings.affinity_domains[name or DEFAULT_DOMAIN]
        oids = {
            "repository": domain.repository_unique_id,
            "imaging-source": settings.imaging_source.retrieve_location_uid,
            "gateway": domain.home_community_id,
            "responding-gateway": domain.home_community_id,
        }
        listed = (*numbers, "RAD-68") if actor == "repository" else numbers
        title = f"{_TITLES[actor]}, {name}" if name else _TITLES[actor]
        rows.append((title, oids.get(actor, ""), ", ".join(listed), path))
    if "imaging-source" in settings.server.actors:
        uid = settings.imaging_source.retrieve_location_uid
        rows.append(("Imaging Document Source, DICOMweb", uid, _dicomweb(settings), "/dicomweb"))
        rows.append(("Imaging Document Source, WADO-URI", uid, "RAD-55", "/wado"))
    return rows


def _dicomweb(settings: Settings) -> str:
    return "RAD-107, RAD-108, RAD-129" if settings.imaging_source.stow_rs else "RAD-107, RAD-129"


def _text(status: int, text: str) -> Response:
    return Response(text + "\n", status, content_type="text/plain; charset=utf-8")
