"""What a study in a PACS holds, as its searches tell: enough to find an instance, to list it, and to leave out what
was rejected.  PS3.18: 10.6.3; IHE RAD IOCM.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from xds.archives.flights import Flights
from xds.archives.interface import Held


@dataclass(frozen=True, slots=True)
class Member:
    """An instance of a study as the PACS lists it.

    ``stamp`` changes with what it is listed as, and with its bytes where the PACS tells of that; ``None``: it could not
    be told.
    """

    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    modality: str = ""
    series_number: int | None = None
    instance_number: int | None = None
    number_of_frames: int = 1
    stamp: str | None = ""

    @property
    def order(self) -> tuple[int, str, int, str]:
        """By series and number; what has none comes last."""
        last = 1 << 31
        numbers = (last if n is None else n for n in (self.series_number, self.instance_number))
        series, instance = numbers
        return series, self.series_instance_uid, instance, self.sop_instance_uid

    def held(self, study_instance_uid: str) -> Held:
        """For the archive's interface; size and transfer syntax show when it is fetched."""
        return Held(
            study_instance_uid, self.series_instance_uid, self.sop_class_uid, self.sop_instance_uid, "", 0, None, ""
        )


Members = dict[tuple[str, str], Member]
"""By Series and SOP Instance UID."""


class Contents:
    """The members of studies, kept for a moment: a request for thousands of instances asks once, and so do those who
    ask at once.  Safe with threads.
    """

    def __init__(self, ask: Callable[[str], Members], *, seconds: float = 30.0, most: int = 64) -> None:
        self._ask, self._seconds, self._most = ask, seconds, most
        self._kept: OrderedDict[str, tuple[float, Members]] = OrderedDict()
        self._lock, self._flights = Lock(), Flights[Members]()

    def of(self, study_instance_uid: str) -> Members:
        """The members of a study, none when the PACS has no such study.

        Raises:
            NotAnswering: the PACS does not say.
        """
        with self._lock:
            found = self._kept.get(study_instance_uid)
            if found is not None and time.monotonic() - found[0] < self._seconds:
                return found[1]
        return self._flights.once(study_instance_uid, lambda: self._asked(study_instance_uid))

    def _asked(self, study_instance_uid: str) -> Members:
        members = self._ask(study_instance_uid)
        with self._lock:
            self._kept[study_instance_uid] = (time.monotonic(), members)
            self._kept.move_to_end(study_instance_uid)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return members

    def forget(self) -> None:
        with self._lock:
            self._kept.clear()
