"""The Responding Gateway: what other communities ask of this one, and by which of its names.

ITI TF-2: 3.38.4.1.3, 3.39.4.1.3.  It answers from the registry and the repositories of its affinity domain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from xds.ebxml.query import AdhocQuery
from xds.ebxml.xdsb import DocumentRequest
from xds.errors import ErrorCode, Finding, Refused
from xds.metadata.homes import home_of
from xds.metadata.identifiers import Oid
from xds.queries.communities import names_patient, target_communities

_NEEDED = "homeCommunityId is required of a query that names no patient (ITI TF-2: 3.38.4.1.2)"


@dataclass(frozen=True, slots=True)
class Asked:
    """By which name of ours we were asked, and what is wrong with the rest of the question."""

    home: str
    findings: tuple[Finding, ...] = ()


class RespondingGateway:
    """One community's."""

    def __init__(self, home: Oid, also: Iterable[Oid] = ()) -> None:
        """``also``: by which it answers, too: it must know every homeCommunityId that it ever returned."""
        self.homes = tuple(dict.fromkeys(map(home_of, (home, *also))))

    @property
    def home(self) -> str:
        """The homeCommunityId that it answers by where it was asked by none."""
        return self.homes[0]

    def asked(self, sent: AdhocQuery) -> Asked:
        """Who a query is for.

        Raises:
            Refused: it is for no community that is served here, or does not say and must.
        """
        if sent.home is not None:
            if sent.home not in self.homes:
                raise Refused([_unknown()])
            return Asked(sent.home)
        if not names_patient(sent):
            raise Refused([Finding(ErrorCode.MISSING_HOME_COMMUNITY_ID, _NEEDED)])
        targets = target_communities(sent)
        if not targets:
            return Asked(self.home)
        ours = [one for one in targets if one in self.homes]
        if not ours:
            raise Refused([_unknown()])
        # Told, and not to be taken for an error of what is answered.
        return Asked(ours[0], tuple(_unknown(one) for one in targets if one not in self.homes))

    def sorted_out(
        self, requests: Sequence[DocumentRequest]
    ) -> tuple[tuple[DocumentRequest, ...], tuple[Finding, ...]]:
        """Documents that are asked of a community that is served here, and why the others cannot be given."""
        ours = tuple(one for one in requests if one.home_community_id in self.homes)
        others = (one for one in requests if one.home_community_id not in self.homes)
        return ours, tuple(_not_ours(one) for one in others)

    def located(self, findings: Iterable[Finding], asked: Sequence[DocumentRequest] = ()) -> tuple[Finding, ...]:
        """Findings as another community is told them: each by whose it is (ITI TF-2: 3.38.4.1.3, 3.39.4.1.3).

        Of a retrieval also by the document; the framework does not say how the two stand together.
        """
        homes = {one.document_unique_id: one.home_community_id for one in asked}

        def placed(location: str) -> str:
            if location not in homes:
                return self.home
            home = homes[location] if homes[location] in self.homes else self.home
            return f"{home} {location}"

        return tuple(replace(one, location=placed(one.location)) for one in findings)


def _unknown(home: str = "") -> Finding:
    said = f"{home[:72]} is" if home else "the homeCommunityId is"
    return Finding(ErrorCode.UNKNOWN_COMMUNITY, f"{said} none of this gateway's (ITI TF-2: 3.38.4.1.3)")


def _not_ours(request: DocumentRequest) -> Finding:
    where = request.document_unique_id
    if not request.home_community_id:
        rule = "HomeCommunityId is required of each document (ITI TF-2: 3.39.4.1.2)"
        return Finding(ErrorCode.MISSING_HOME_COMMUNITY_ID, rule, where)
    rule = "the HomeCommunityId is none of this gateway's (ITI TF-2: 3.39.4.1.3)"
    return Finding(ErrorCode.UNKNOWN_COMMUNITY, rule, where)
