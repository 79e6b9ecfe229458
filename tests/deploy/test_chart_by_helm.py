"""What helm writes by the chart is what Kubernetes takes and what xds reads; values that do not fit are refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from tests.deploy.helm import VALUES, merged, said, template
from tests.extent import LONG
from tests.hostile.certificates import Authority
from tests.hostile.server import Served
from xds.server.listening import check_listen
from xds.settings.configuration import load

pytestmark = [
    pytest.mark.large,
    pytest.mark.skipif(not LONG, reason="helm is built by make test-long only"),
    pytest.mark.timeout(1800),
]
SEVERAL = VALUES["several"]


def of_kind(written: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = (one for one in written if one["kind"] == kind)
    return found


def container(values: dict[str, Any]) -> dict[str, Any]:
    (found,) = of_kind(template(values), "StatefulSet")["spec"]["template"]["spec"]["containers"]
    return dict(found)


@pytest.mark.parametrize("name", sorted(VALUES))
@pytest.mark.parametrize("version", ["1.27", "1.31", "1.34"])
def test_kubernetes_takes_what_is_written(name: str, version: str) -> None:
    written = template(VALUES[name], version)
    for one in written:
        kubernetes_validate.validate(one, version, strict=True)
    kinds = {one["kind"] for one in written}
    assert kinds >= {"StatefulSet", "Service", "ConfigMap", "NetworkPolicy"}
    several = {"PodDisruptionBudget", "HorizontalPodAutoscaler", "Job"}
    assert kinds & several == (several if name == "several" else set())


@pytest.mark.parametrize(("changed", "why"), [
    ({"database": {"secret": ""}}, "several nodes need one database"),
    ({"documents": ""}, "several nodes need one store"),
    ({"oids": {"homeCommunity": ""}}, "several nodes are one deployment"),
    ({"actors": ["imaging-source"]}, "the imaging source follows one folder"),
    ({"autoscaling": {"minReplicas": 9}}, "autoscaling.minReplicas is more"),
    ({"s3": {"secret": ""}}, "set s3.secret"),
    ({"tls": {"secret": "xds-tls"}}, "set one of them"),
    ({"proxy": {"networks": []}}, "nobody could be believed"),
    ({"proxy": {"certificate": ""}}, "nobody would be authenticated"),
    ({"publicUrl": ""}, "nobody would be authenticated"),
    ({"replicas": 0}, "greater than or equal to 1"),
])  # fmt: skip
def test_values_that_do_not_fit_are_refused_with_what_to_do(changed: dict[str, Any], why: str) -> None:
    done = said(merged(SEVERAL, **changed))
    assert done.returncode != 0
    assert why in done.stderr


@pytest.mark.parametrize("name", sorted(VALUES))
def test_its_variables_are_settings_that_a_node_starts_with(name: str, tmp_path: Path) -> None:
    """Those of secrets and of the pod aside."""
    variables = {one["name"]: one.get("value", "postgresql://xds@database/xds" if "DATABASE" in one["name"] else "a")
                 for one in container(VALUES[name])["env"]}  # fmt: skip
    (tmp_path / "xds.toml").write_text(of_kind(template(VALUES[name]), "ConfigMap")["data"]["xds.toml"])
    loaded = load(tmp_path / "xds.toml", variables)
    check_listen(loaded)
    assert loaded.settings.server.listen == "0.0.0.0:8080"
    assert loaded.settings.server.actors == tuple(VALUES[name].get("actors", ["registry", "repository"]))


def test_a_pod_is_not_root_and_writes_its_data_and_temporary_files_only() -> None:
    for kind in ("StatefulSet", "Job"):
        spec = of_kind(template(SEVERAL), kind)["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert not spec["automountServiceAccountToken"]
        assert not spec["enableServiceLinks"]  # XDS_SERVICE_HOST and such would be settings that there are not
        (one,) = spec["containers"]
        assert one["securityContext"]["readOnlyRootFilesystem"]
        written = {mount["mountPath"] for mount in one["volumeMounts"] if not mount.get("readOnly")}
        assert written == {"/var/lib/xds", "/tmp"}  # noqa: S108


def test_a_node_is_given_time_to_serve_on_and_to_end() -> None:
    spec = of_kind(template(merged(SEVERAL, preStopSeconds=3)), "StatefulSet")["spec"]["template"]["spec"]
    command = spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert command[-1] == "import time; time.sleep(3)"
    assert spec["terminationGracePeriodSeconds"] == 93


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A node with mutual TLS of its own, its files called as in a Secret."""
    folder = tmp_path_factory.mktemp("node")
    authority = Authority(folder / "pki", "region")
    own = authority.signed("localhost")
    for name, file in (("tls.crt", own.certificate), ("tls.key", own.key), ("ca.crt", authority.trusted)):
        (folder / name).write_bytes(Path(file).read_bytes())
    tls = {"certificate": f"{folder}/tls.crt", "key": f"{folder}/tls.key", "trusted": f"{folder}/ca.crt"}
    served = Served(folder, {"tls": tls}, scheme="https").start()
    yield served
    served.stop()


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_a_node_with_tls_of_its_own_is_asked_by_its_own_certificate(probe: str, node: Served) -> None:
    _, *command = container(VALUES["one"])[probe]["exec"]["command"]
    here = [part.replace("/etc/xds/tls", str(node.folder)).replace("8080", str(node.port)) for part in command]
    assert subprocess.run([sys.executable, *here], timeout=60, check=False).returncode == 0
    elsewhere = [part.replace(str(node.port), "1") for part in here]
    assert subprocess.run([sys.executable, *elsewhere], timeout=60, capture_output=True, check=False).returncode != 0


def test_a_node_behind_a_proxy_is_asked_plainly() -> None:
    said = container(SEVERAL)
    assert said["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert said["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
