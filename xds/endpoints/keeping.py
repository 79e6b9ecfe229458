"""The end of a request's unit of work: its effect is committed with its audit records, or neither is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from xds.endpoints.failures import Failures
from xds.endpoints.soap_refusals import not_known, not_now
from xds.store.audit.records import Recorded, is_there, open_stream, record, recording
from xds.store.engine import away
from xds.store.statements import Asked
from xds.store.work import Database, NotKnown
from xds.transactions.transaction import Call, Reply
from xds.wire import mtom
from xds.wire.faults import Fault, FaultCode
from xds.wire.http import HttpRequest

log = logging.getLogger("xds.endpoints.soap")


class NotCommitted(Exception):
    """The database was lost, and nothing of the request is there: it may be begun anew."""


class Keeper:
    """Commits what requests of one process have done."""

    def __init__(self, database: Database, owner: str, failures: Failures | None) -> None:
        """``owner``: the process, of streams under way; ``failures``: how many records of these a peer brings about."""
        self._database, self._owner, self._failures = database, owner, failures

    def keep(self, call: Call, reply: Reply, request: HttpRequest, *, once_more: bool = False) -> str:
        """Commit; return the id of the stream that is on record as under way, if there is one.

        Raises:
            NotCommitted: with ``once_more``, where that is so.
            Fault: the audit log cannot be written, and so nothing was done; or it is not known whether it was.
        """
        last: Sequence[Asked] = ()
        stream_id, can_be_looked_up = "", False
        try:
            if reply.attachments:
                stream_id = mtom.new_boundary()
                failures = [one for event in call.all_events() for one in event.records()]
                open_stream(call.work.connection, stream_id, self._owner, failures)
            else:
                records = call.ended(failed=reply.failed, findings=reply.findings)
                last = recording(self._counted(call, request, records) if reply.failed else records)
                if self._database.batches is not None and not call.work.has_begun:
                    self._database.batches.add(last)
                    return ""
                can_be_looked_up = True
            there = partial(is_there, recording_=last) if can_be_looked_up else None
            call.work.commit(*last, is_there=there, counts=not stream_id)
        except Exception as problem:
            surely_not = can_be_looked_up and away(problem) and not isinstance(problem, NotKnown)
            if once_more and surely_not and not call.sent:
                raise NotCommitted from None
            log.exception("audit.not_recorded", extra={"transaction": call.transaction.number})
            call.work.close()
            call.release()
            if isinstance(problem, NotKnown):
                raise not_known(call.transaction) from None
            if away(problem):
                raise not_now(call.transaction) from None
            raise Fault(FaultCode.RECEIVER, "the request cannot be recorded and was not carried out") from None
        return stream_id

    def keep_failures(self, call: Call, request: HttpRequest) -> None:
        """Commit the records of a request that was not carried out."""
        with self._database.engine.begin() as connection:
            record(connection, self._counted(call, request, call.ended(failed=True)))

    def _counted(self, call: Call, request: HttpRequest, records: list[Recorded]) -> Sequence[Recorded]:
        """The records of a failure that are kept; all of what went to another actor, which has had its effect there."""
        if self._failures is None or call.sent:
            return records
        return self._failures.kept(request.told_by, records)
