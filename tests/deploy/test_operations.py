"""Dashboard, alert rules and their chapter: each names only what a node tells, and Prometheus itself takes them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from tests.builders import AUTHORITY
from tests.cli.command import xds
from tests.conftest import wait_for
from tests.hostile.server import Served
from tests.imaging.images import an_instance, put
from tests.needs import needed
from tests.places import ROOT
from xds.cli import commands
from xds.demo.site import free_port
from xds.metadata.identifiers import UniqueId
from xds.system.parent import ends_with_us

DEPLOY = ROOT / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
PAGE = (DEPLOY / "OPERATIONS.md").read_text("utf-8")
GROUPS = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text("utf-8"))["groups"]
RULES: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
PANELS: list[dict[str, Any]] = json.loads((DEPLOY / "grafana" / "xds.json").read_text("utf-8"))["panels"]
SHOWN = [target["expr"] for panel in PANELS for target in panel.get("targets", ())]
ELSEWHERE = {
    "xds_database_replica_lag_seconds": "needs a copy of PostgreSQL",
    "xds_queries_answered_from_total": "needs one that is named in server.replicas",
    **dict.fromkeys(
        (
            f"xds_image_cache_{what}"
            for what in (
                "bytes",
                "limit_bytes",
                "instances",
                "requests_total",
                "read_bytes_total",
                "evictions_total",
            )
        ),
        "needs a PACS: tests/journeys/test_pacs_cached.py",
    ),
    **dict.fromkeys(
        ("xds_audit_unstored", "xds_audit_unstored_oldest_seconds", "xds_audit_stored_total"),
        "needs an object store: tests/initiating/test_audit_storing.py",
    ),
    "xds_connections_refused_total": "needs a listener of MLLP, syslog or C-STORE that is flooded",
}
"""What a node of the test has no reason to tell, and why."""


def named(text: str) -> set[str]:
    """The metrics of ours that a text names."""
    return set(re.findall(r"\bxds_[a-z][a-z0-9_]*", text)) - set(ELSEWHERE)


def sections() -> dict[str, str]:
    """What each alert means, by its name."""
    chapter = PAGE.partition("\n## What each alert means\n")[2].partition("\n## ")[0]
    parts = re.split(r"^### (\w+)$", chapter, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def got(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as reply:  # noqa: S310
        return str(reply.read().decode())


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A node that does a little of everything."""
    folder, port = tmp_path_factory.mktemp("node"), free_port()
    put(folder / "images", "1.dcm", an_instance(1))
    assert xds("pki", "init", "--dir", folder / "pki").code == 0
    served = Served(folder, {
        "imaging_source": {
            "folder": str(folder / "images"), "refresh_seconds": 0.2, "publish_quiet_seconds": 0.2, "issuer": AUTHORITY,
            "publish_to": f"http://127.0.0.1:{port}/repository",
        },
        "audit": {"forward_to": [f"udp://127.0.0.1:{free_port()}"]}, "consent": {"documents": True},
        "xua": {"trusted": str(folder / "pki" / "ca.crt")},
        "tracing": {"endpoint": f"http://127.0.0.1:{free_port()}/v1/traces", "ratio": 1.0},
    }, port=port).start()  # fmt: skip
    request = served.provide(b"document", folder)
    assert served.retrieved(request) == b"document"
    assert served.found() >= {request.document_unique_id}
    assert served.retrieved(replace(request, document_unique_id=UniqueId("1.2.3"))) is None  # refused, and counted
    yield served
    assert served.stop() == 0


def told(node: Served) -> set[str]:
    return set(re.findall(r"^(xds_\w+)", got(f"{node.url}/metrics"), re.MULTILINE))


# The chapter.


def test_every_alert_has_its_section_and_every_section_its_alert_in_the_same_order() -> None:
    assert [rule["alert"] for rule in ALERTS] == list(sections())


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_grave_it_is_what_is_wrong_and_where_to_read(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["runbook"] == f"deploy/OPERATIONS.md#{rule['alert'].lower()}"


@pytest.mark.parametrize("name", sections())
def test_a_section_says_what_is_seen_why_what_to_do_with_commands_and_when_it_is_over(name: str) -> None:
    text = sections()[name]
    places = [text.find(f"\n{word}") for word in ("You see:", "Why:", "Do:", "```sh\n", "Over:")]
    assert min(places) >= 0
    assert places == sorted(places)


def test_what_the_page_leads_to_is_there() -> None:
    anchors = {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in re.findall(r"^#+ (.+)$", PAGE, re.M)}
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        else:
            assert (DEPLOY / target).is_file(), target
    listed = PAGE.partition("\n## ")[0]
    assert set(re.findall(r"\]\(#([^)]+)\)", listed)) == {
        one.lower().replace(" ", "-") for one in re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    }


@pytest.mark.parametrize("line", sorted(set(re.findall(r"^xds .+$", PAGE, re.MULTILINE))))
def test_a_command_of_the_page_is_one(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("key.txt", "elsewhere.crt"):  # of the operator's own
        (tmp_path / name).touch()
    command: click.Command = commands
    words = shlex.split(line.partition(" > ")[0])
    context = click.Context(command, info_name=words.pop(0))
    while isinstance(command, click.Group):
        word = words.pop(0)
        found = command.get_command(context, word)
        assert found is not None, line
        command = found
    command.make_context(line, words)


@pytest.mark.parametrize("text", re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
def test_a_block_of_commands_can_be_typed(text: str) -> None:
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# The rules, by Prometheus' own tool.


def promtool(*arguments: str | Path) -> None:
    needed("promtool", "prometheus", "Prometheus")
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_and_the_configuration_are_good() -> None:
    promtool("check", "rules", PROMETHEUS / "alerts.yml")
    promtool("check", "config", PROMETHEUS / "prometheus.yml")


def test_each_alert_fires_when_it_should_and_none_when_all_is_well() -> None:
    tests = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text("utf-8"))["tests"]
    assert [one["name"] for one in tests[1:]] == [rule["alert"] for rule in ALERTS]
    promtool("test", "rules", PROMETHEUS / "alerts_test.yml")


# And a node that runs.


def test_each_metric_that_is_named_is_told_by_a_node(node: Served) -> None:
    wanted = named(" ".join([*SHOWN, *(rule["expr"] for rule in RULES)]))
    assert len(wanted) > 30
    wait_for(lambda: wanted <= told(node), 30)
    families = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in told(node)}
    for name in named(" ".join(re.findall(r"`[^`\n]+`", PAGE))):
        assert re.sub(r"_(total|bucket)$", "", name) in families, name


def test_what_the_node_of_the_test_has_no_reason_to_tell_is_in_the_code() -> None:
    code = "".join(path.read_text("utf-8") for path in (ROOT / "xds").rglob("*.py"))
    assert all(f'"{name}"' in code or f'"{name.removesuffix("_total")}"' in code for name in ELSEWHERE)


def test_a_row_of_the_dashboard_has_its_panels_and_no_two_lie_on_each_other() -> None:
    rows = [panel["title"] for panel in PANELS if panel["type"] == "row"]
    assert rows == ["What needs a person now", "Transactions", "Queues", "Stores", "Peers", "Processes"]
    taken = set[tuple[int, int]]()
    for at in (panel["gridPos"] for panel in PANELS):
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


@pytest.fixture(scope="module")
def prometheus(node: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's Prometheus with our configuration: another port, and quicker."""
    needed("prometheus", "prometheus", "Prometheus")
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    shutil.copy(PROMETHEUS / "alerts.yml", folder)
    text = (PROMETHEUS / "prometheus.yml").read_text("utf-8")
    assert '["127.0.0.1:8080"]' in text
    text = re.sub(r"(scrape|evaluation)_interval: 15s", r"\1_interval: 1s", text.replace(":8080", f":{node.port}"))
    (folder / "prometheus.yml").write_text(text.replace("scrape_timeout: 10s", "scrape_timeout: 1s"), "utf-8")
    command = [
        "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=ends_with_us)
    url = f"http://127.0.0.1:{port}"

    def scraped() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            return len(asked(url, 'up{job="xds"} == 1')) == 1
        except (urllib.error.URLError, OSError):
            return False

    wait_for(scraped)
    yield url
    process.terminate()
    process.wait(20)


def asked(url: str, query: str) -> list[Any]:
    """What an expression gives just now."""
    answer = json.loads(got(f"{url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"))
    assert answer["status"] == "success", answer
    assert not answer.get("warnings"), answer
    return list(answer["data"]["result"])


@pytest.mark.parametrize("query", sorted({*SHOWN, *(rule["expr"] for rule in RULES)}))
def test_prometheus_answers_each_question_about_a_node_that_runs(prometheus: str, query: str) -> None:
    asked(prometheus, query.replace("$instance", ".*"))


def test_prometheus_evaluates_each_rule_and_a_node_that_is_well_wakes_nobody(prometheus: str) -> None:
    def rules() -> list[dict[str, Any]]:
        groups = json.loads(got(f"{prometheus}/api/v1/rules"))["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    wait_for(lambda: all(rule["health"] == "ok" for rule in rules()))
    assert len(rules()) == len(RULES)
    assert not asked(prometheus, 'ALERTS{severity="critical",alertstate="firing"}')


def test_what_the_dashboard_shows_of_a_node_is_there(prometheus: str, node: Served) -> None:
    node.found()
    empty = [query for query in SHOWN if not re.search(r"ALERTS|replica", query)]

    def left() -> list[str]:
        empty[:] = [query for query in empty if not asked(prometheus, query.replace("$instance", ".*"))]
        return empty

    wait_for(lambda: not left(), 40)
