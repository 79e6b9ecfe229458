"""The guides as pages: the same Markdown that ``xds guide`` prints."""

from __future__ import annotations

from functools import cache

from flask import Blueprint, abort, render_template
from markupsafe import Markup

from xds.system import guides


@cache
def _html(name: str) -> Markup:
    from markdown_it import MarkdownIt  # late: few processes are ever asked for a guide

    # HTML in the text is shown as text, and never passed on.
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    found = guides.guide(name)
    return Markup("" if found is None else markdown.render(found.text))  # noqa: S704  our own file, escaped  # nosec B704


def pages() -> Blueprint:
    """The list of guides, and each of them; for whoever may see the console."""
    blueprint = Blueprint("guides", __name__)

    @blueprint.get("/console/guides")
    def listed() -> str:
        return render_template("guides.html", guides=guides.guides())

    @blueprint.get("/console/guides/<name>")
    def shown(name: str) -> str:
        found = guides.guide(name)
        if found is None:
            abort(404)
        return render_template("guide.html", title=found.title, text=_html(name))

    return blueprint
