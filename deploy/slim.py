"""Leaves out of a virtual environment what no node uses, so that the image is small; run while it is built.

    /opt/xds/bin/python deploy/slim.py

What is imported by any module of xds is imported once, which compiles it: the rest is not worth its room.
"""

from __future__ import annotations

import filecmp
import importlib
import pkgutil
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

SITE = Path(sysconfig.get_path("purelib"))
# What is for those who build upon these packages, or a second way to do what the first one does.
FOLDERS = (
    "tests",
    "numpy/f2py",
    "numpy/distutils",
    "numpy/_core/include",
    "numpy/random/lib",
    "pydicom/data/test_files",
)
EXTRAS = ("opentelemetry", "pkcs11")  # of xds[tracing] and xds[hsm]
FILES = ("*.pyi", "*.pyx", "*.pxd", "*.c", "*.h", "*.a", "zstandard/_cffi.*")


def left_out() -> Iterator[Path]:
    """Folders and files that go."""
    for pattern in FOLDERS:
        yield from (path for path in SITE.rglob(pattern) if path.is_dir())
    for pattern in FILES:
        yield from SITE.rglob(pattern)


def linked() -> None:
    """Put a link in the place of each library that a wheel, which can hold none, has twice under two names."""
    for folder in {path.parent for path in SITE.rglob("*.so*")}:
        kept: list[Path] = []
        for path in sorted(folder.glob("*.so*"), key=lambda path: -len(path.name)):
            same = next((one for one in kept if filecmp.cmp(one, path, shallow=False)), None)
            if same is None:
                kept.append(path)
            else:
                path.unlink()
                path.symlink_to(same.name)


def stripped() -> None:
    """Take debuggers' symbols out of extension modules, where the program for it is there.

    Not out of the libraries in ``NAME.libs``: their tables have been rearranged, and are left as they are.
    """
    if shutil.which("strip"):
        for path in SITE.rglob("*.so"):
            if not path.is_symlink() and not path.parent.name.endswith(".libs"):
                subprocess.run(["strip", "--strip-debug", str(path)], check=True)


def compiled() -> None:
    """Import every module of xds; of one that is of use with an extra only, which the image has not, nothing."""
    import xds

    for module in pkgutil.walk_packages(xds.__path__, "xds."):
        if module.name.endswith(".__main__") or ".migrations." in module.name:
            continue
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as missing:
            if (missing.name or "").partition(".")[0] not in EXTRAS:
                raise


if __name__ == "__main__":
    if sys.prefix == sys.base_prefix:
        sys.exit("this is for a virtual environment that is put into an image")
    for path in left_out():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    linked()
    stripped()
    compiled()
