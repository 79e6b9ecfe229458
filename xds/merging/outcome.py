"""Why a submission of a source's is not here."""

from __future__ import annotations

from xds.store.merging import Became


class NotCopied(Exception):
    """A submission stays where it is: what became of it, why, and on account of which object."""

    def __init__(self, became: Became, why: str, entry_uuid: str = "", *, may_follow: bool = False) -> None:
        """``may_follow``: what it lacks may come with another submission of the same patient's."""
        super().__init__(why)
        self.became, self.why, self.entry_uuid, self.may_follow = became, why, entry_uuid, may_follow
