"""What is counted in no process, as ``/metrics`` says it: one value for each set of labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def gauge(name: str, meaning: str, values: Iterable[tuple[Mapping[str, str], object]]) -> str:
    """A gauge in the text format of Prometheus; nothing where there is no value."""
    lines = [f"{name}{_labels(labels)} {value}" for labels, value in values]
    head = [f"# HELP {name} {meaning}", f"# TYPE {name} gauge"]
    return "\n".join([*head, *lines]) + "\n" if lines else ""


def counter(name: str, meaning: str, values: Iterable[tuple[Mapping[str, str], object]]) -> str:
    """A counter likewise; its name ends in ``_total``."""
    return gauge(name, meaning, values).replace(f"# TYPE {name} gauge", f"# TYPE {name} counter")


def _labels(labels: Mapping[str, str]) -> str:
    written = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
    return f"{{{written}}}" if written else ""


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
