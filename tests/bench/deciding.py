"""What deciding costs: ITI-18 of 100 entries with 200 rules and a patient of 20 directives, and with none of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench import in_process, load
from tests.bench.figures import Broken, Reach, Result, judged
from tests.bench.run import Run
from tests.builders import ANNA, AUTHORITY, a_submission, an_entry
from xds.access.consent import Directive
from xds.access.directives import set_directive
from xds.server.application import Application
from xds.settings.configuration import load as load_settings
from xds.store.deployment import prepare, with_identity
from xds.store.engine import make_engine
from xds.store.registry import patients
from xds.store.registry.sql_registry import SqlRegistry

ENTRIES, RULES, DIRECTIVES = 100, 200, 20
LIMIT = Reach("≤", 1.1)
ADDRESS = "192.0.2.7"


def run(bench: Run) -> Iterator[Result]:
    """CPU milliseconds of a request in this process, in turns; the floor is a node that decides nothing."""
    sites = [_site(bench.new_folder(name), decides=name == "deciding") for name in ("plain", "deciding")]
    times: list[list[float]] = [[], []]
    for _ in range(bench.of(400, 120, 12)):
        for one, site in zip(times, sites, strict=True):
            one.append(_asked(site))
    for site in sites:
        site.engine.dispose()
    floor, figure = (statistics.median(one[len(one) // 10 :]) for one in times)
    note = f"{RULES} rules, {DIRECTIVES} directives, {ENTRIES} LeafClass, SQLite"
    yield judged("ITI-18 with decisions: CPU", "ms", figure, floor, LIMIT, note=note)


def _site(folder: Path, *, decides: bool) -> Application:
    text = f'[server]\ndata = "{folder}"\n[domain]\nassigning_authorities = ["{AUTHORITY}"]\n'
    if decides:
        (folder / "policy.toml").write_text(_policy(), "utf-8")
        text += f'[tls]\ntrusted = "region.crt"\n[policy]\nfile = "{folder / "policy.toml"}"\n'
        text += f'[peers.ehr]\naddresses = ["{ADDRESS}"]\norganisation = "North"\nroles = ["document-consumer"]\n'
    (folder / "xds.toml").write_text(text, "utf-8")
    loaded = with_identity(load_settings(folder / "xds.toml", {}))
    prepare(make_engine(loaded.settings.database_url), loaded)
    application = Application(loaded)
    with application.engine.begin() as connection:
        patients.add(connection, "default", ANNA)
        registry = application.domains["default"].actors.registry
        registry.register(
            a_submission(entries=[an_entry() for _ in range(ENTRIES)]), SqlRegistry(connection, "default")
        )  # fmt: skip
        key = patients.key_of(connection, "default", ANNA)
        assert key is not None
        for number in range(DIRECTIVES if decides else 0):
            who = "North" if number % 2 else f"Hospital {number}"
            said = Directive(False, documents=frozenset({f"1.2.9.{number}"}), organisations=frozenset({who}))
            set_directive(connection, key, said, "benchmark")
    return application


def _policy() -> str:
    """Rules for other peers before the one that decides, as a region comes to have."""
    rules = [
        f'[[rules]]\nname = "rule-{number}"\npeers = ["peer-{number}"]\ntransactions = ["ITI-18", "ITI-43"]\n'
        f'confidentiality = "N"\npermit = true\n'
        for number in range(RULES - 3)
    ]
    rules.append('[[rules]]\nname = "administrators"\npeer_roles = ["document-administrator"]\npermit = true\n')
    rules.append('[[rules]]\nname = "read"\npeer_roles = ["document-consumer"]\nconfidentiality = "N"\npermit = true\n')
    rules.append('[[rules]]\nname = "rest"\npermit = false\n')
    return "\n".join(rules)


def _asked(site: Application) -> float:
    """CPU milliseconds of one query.

    Raises:
        Broken: the answer is another than it should be.
    """
    body = load.find_body("http://localhost/registry", ANNA).replace("@MESSAGE@", "urn:uuid:1").encode()
    started = time.process_time()
    answer = in_process.asked(site, "/registry", body, ADDRESS)
    taken = (time.process_time() - started) * 1000
    if answer.count(b"<rim:ExtrinsicObject ") != ENTRIES:
        raise Broken(f"FindDocuments gave {answer.count(b'<rim:ExtrinsicObject ')} entries: {answer[:500]!r}")
    return taken
