"""``python -m tests.fuzz NAME SECONDS FOLDER``: fuzz one target by atheris, which has to be installed.

FOLDER keeps the inputs that reached something new, and what broke a target as ``crash-…``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import atheris  # type: ignore[import-not-found,unused-ignore]

with atheris.instrument_imports(include=["xds", "hl7", "joserfc"]):
    from tests.fuzz.targets import TARGETS


def main(name: str, seconds: str, folder: str) -> None:
    target, corpus = TARGETS[name], Path(folder)
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    fuzzer: Any = atheris
    options = [f"-max_total_time={seconds}", "-max_len=16384", f"-artifact_prefix={folder}/", "-rss_limit_mb=1500"]
    fuzzer.Setup([sys.argv[0], folder, *options, "-timeout=20"], target.run)
    fuzzer.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
