"""helm, as it is installed or as Go builds it; and values that a site may have."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from typing import Any

import yaml

from tests.needs import missing
from tests.places import ROOT

CHART = ROOT / "deploy" / "chart"
BUILT = ROOT / ".helm"
MODULE = "helm.sh/helm/v3/cmd/helm@v3.16.4"

VALUES: dict[str, dict[str, Any]] = {
    "one": {"tls": {"secret": "xds-tls"}, "actors": ["registry", "repository", "imaging-source"]},
    "several": {
        "publicUrl": "https://xds.example.org",
        "replicas": 3,
        "oids": {"repository": "1.2.3.4.5", "assigningAuthorities": ["1.2.3.4"], "homeCommunity": "1.2.3.4.6"},
        "database": {"secret": "xds-database"},
        "documents": "s3://documents/xds",
        "s3": {"endpoint": "http://store:8333", "region": "here", "secret": "xds-store"},
        "proxy": {"networks": ["10.42.0.0/16", "10.43.0.1"], "certificate": "haproxy"},
        "autoscaling": {"enabled": True},
        "image": {"repository": "images.example.org/xds", "tag": "1", "pullSecrets": ["images"]},
        "storage": {"size": "10Gi", "storageClass": "fast"},
        "service": {
            "extraPorts": [{"name": "mllp", "port": 2575}, {"name": "syslog", "port": 6514, "protocol": "TCP"}]
        },
        "networkPolicy": {
            "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "proxies"}}}],
            "to": [{"to": [{"podSelector": {"matchLabels": {"app": "postgres"}}}]}],
        },
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "health", "operator": "Exists"}],
        "podAnnotations": {"team": "health"},
        "config": '[policy]\nmode = "watch"\n',
    },
}
"""One node that ends TLS itself; and three behind a proxy, with everything that can be set."""


def program() -> str:
    """Where helm is."""
    found = shutil.which("helm")
    if found:
        return found
    if shutil.which("go") is None:
        missing("Go, for helm,", "golang")
    BUILT.mkdir(exist_ok=True)
    with (BUILT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (BUILT / "helm").exists():
            environment = os.environ | {"GOBIN": str(BUILT), "GOFLAGS": "-p=2"}
            done = subprocess.run(
                ["go", "install", MODULE], env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr[-4000:]
    return str(BUILT / "helm")


def said(values: dict[str, Any], version: str = "1.31") -> subprocess.CompletedProcess[str]:
    """What ``helm template`` says of values, for a version of Kubernetes."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(values, file)
        file.flush()
        command = [program(), "template", "site", str(CHART), "--kube-version", f"{version}.0", "--values", file.name]
        return subprocess.run(command, capture_output=True, text=True, check=False)


def template(values: dict[str, Any], version: str = "1.31") -> list[dict[str, Any]]:
    """What it writes."""
    done = said(values, version)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def merged(values: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """Values with some sections changed, key by key."""
    return {**values, **{name: {**values.get(name, {}), **one} if isinstance(one, dict) else one
                         for name, one in changed.items()}}  # fmt: skip
