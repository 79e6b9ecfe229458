"""The bar of ``xds fetch``: images counted as images, bytes as bytes, a line a study."""

from __future__ import annotations

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text


class _Size(ProgressColumn):
    """How many bytes have come, and how many come a second."""

    def render(self, task: Task) -> Text:
        size_bytes, seconds = int(task.fields.get("size_bytes", 0)), task.finished_time or task.elapsed
        rate = f"  {decimal(int(size_bytes / seconds))}/s" if seconds else ""
        return Text(f"{decimal(size_bytes)}{rate}")


class Images(Progress):
    """Safe with threads; a task is a study."""

    def study(self, title: str, images: int) -> TaskID:
        return self.add_task(title, total=images, size_bytes=0)

    def came(self, task: TaskID, size_bytes: int = 0) -> None:
        """One image more, of which so many bytes have come now: none, when it did not come or was here before."""
        with self._lock:
            before = int(self._tasks[task].fields["size_bytes"])
            self.update(task, advance=1, size_bytes=before + size_bytes)


def progress(*, quiet: bool, console: Console | None = None) -> Images:
    return Images(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f} images"),
        _Size(), TimeRemainingColumn(), console=console or Console(stderr=True), disable=quiet,
    )  # fmt: skip
