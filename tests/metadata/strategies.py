"""Any metadata that can be sent, for hypothesis: every attribute, and what XDS has no name for."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from typing import Any

from hypothesis import strategies as st

from xds.ebxml.rim import Classification, ExternalIdentifier, LocalizedString, Slot
from xds.metadata.association import Association, SubmissionSetStatus
from xds.metadata.datatypes import Author, Code, Dtm, Recipient, ReferenceId, Xcn, Xon, Xtn, escape
from xds.metadata.document_entry import DocumentEntry
from xds.metadata.folder import Folder
from xds.metadata.identifiers import PatientId, UniqueId
from xds.metadata.submission import Submission
from xds.metadata.submission_set import SubmissionSet
from xds.metadata.vocabulary import ON_DEMAND, STABLE, AssociationType, AvailabilityStatus

# What XML can hold: no surrogates, no control characters but these three, no code points that are none.
_characters = st.characters(exclude_categories=("Cs", "Cc", "Cn")) | st.sampled_from("\t\n\r'\"<&>^|~\\%")
texts = st.text(_characters, min_size=1, max_size=30)
"""Any text, white space around it included."""

words = texts.map(lambda text: " ".join(text.split())).filter(bool)
components = words.map(escape)
uuids = st.uuids().map("urn:uuid:{}".format)
oids = st.lists(st.integers(0, 10**7), min_size=1, max_size=6).map(lambda arcs: "2." + ".".join(map(str, arcs)))
times = st.builds(
    lambda time, digits: Dtm(time.strftime("%Y%m%d%H%M%S")[:digits]),
    st.datetimes(min_value=datetime(1000, 1, 1)),
    st.sampled_from((4, 6, 8, 10, 12, 14)),
)
codes = st.builds(Code, texts, texts, texts)
patient_ids = st.builds(
    PatientId,
    words.map(lambda text: unicodedata.normalize("NFC", text).translate(dict.fromkeys(map(ord, "^&~|")))).filter(bool),
    oids,
)
authorities = st.none() | oids
xcns = st.builds(
    lambda id_, last, first, oid: Xcn(f"{id_}^{last}^{first}" + (f"^^^^^^&{oid}&ISO" if oid else "")),
    st.just("") | components, components, st.just("") | components, authorities,
)  # fmt: skip
xons = st.builds(lambda name, oid: Xon(f"{name}^^^^^^^^^{oid}" if oid else name), components, authorities)
xtns = st.builds(lambda mail: Xtn(f"^^Internet^{mail}"), components) | st.just(Xtn("^PRN^PH^^41^44^5551234"))
authors = st.builds(
    lambda *parts: Author(*parts) if parts[0] or parts[1] or parts[4] else Author(Xcn("^Nobody"), *parts[1:]),
    st.none() | xcns,
    *(st.lists(kind, max_size=2).map(tuple) for kind in (xons, words, words, xtns)),
)
recipients = st.builds(
    lambda *parts: Recipient("|".join(part.text if part else "" for part in parts).rstrip("|")),
    xons, st.none() | xcns, st.none() | xtns,
)  # fmt: skip
references = st.builds(ReferenceId.of, words, st.just("urn:ihe:iti:xds:2013:accession"), st.just("") | oids)
_string = st.builds(LocalizedString, texts, st.sampled_from((None, "de-CH")), st.sampled_from((None, "UTF-8")))
strings = st.lists(_string, max_size=2).map(tuple)
slots = st.lists(
    st.builds(
        Slot, words.map("urn:x:{}".format), st.lists(texts, max_size=3).map(tuple), st.sampled_from((None, "urn:t"))
    ),
    max_size=2,
    unique_by=lambda slot: slot.name,
).map(tuple)
statuses = st.sampled_from((None, SubmissionSetStatus.ORIGINAL, SubmissionSetStatus.REFERENCE))
sha1s = st.text("0123456789abcdefABCDEF", min_size=40, max_size=40)


def classifications(owner: str) -> st.SearchStrategy[tuple[Classification, ...]]:
    """Codes and markers that XDS does not know."""
    coded = st.builds(Classification, uuids, st.just(owner), uuids, st.none(), texts, slots, strings)
    marker = st.builds(Classification, uuids, st.just(owner), st.none(), uuids)
    return st.lists(coded | marker, max_size=2).map(tuple)


def identifiers(owner: str) -> st.SearchStrategy[tuple[ExternalIdentifier, ...]]:
    """Identifiers that XDS does not know."""
    return st.lists(st.builds(ExternalIdentifier, uuids, st.just(owner), uuids, texts, strings, slots), max_size=2).map(
        tuple
    )


def many(values: st.SearchStrategy[Any], least: int = 0) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(values, min_size=least, max_size=3).map(tuple)


def _common(owner: str) -> dict[str, st.SearchStrategy[Any]]:
    return {
        "entry_uuid": st.just(owner),
        "availability_status": st.none() | st.sampled_from(AvailabilityStatus),
        "home_community_id": st.none() | oids.map("urn:oid:{}".format),
        "logical_id": st.none() | uuids,
        "version": st.none() | st.integers(1, 99).map(str),
        "extra_slots": slots,
        "extra_classifications": classifications(owner),
        "extra_identifiers": identifiers(owner),
    }


@st.composite
def document_entries(draw: st.DrawFn) -> DocumentEntry:
    kind = draw(st.sampled_from((STABLE, ON_DEMAND)))
    real: dict[str, Any] = {"creation_time": times, "hash": sha1s, "size": st.integers(0, 2**63 - 1)}
    entry = st.builds(
        DocumentEntry,
        **_common(draw(uuids)),
        **(real if kind == STABLE else {}),
        unique_id=st.text("abcdef.^:-0123456789", min_size=1, max_size=128).map(UniqueId),
        patient_id=patient_ids,
        class_code=codes,
        type_code=codes,
        format_code=codes,
        healthcare_facility_type_code=codes,
        practice_setting_code=codes,
        confidentiality_code=many(codes, 1),
        language_code=st.sampled_from(("de", "de-CH", "zh-Hant-TW")),
        mime_type=st.sampled_from(("text/plain", "application/dicom", "multipart/related;type=x")),
        source_patient_id=patient_ids,
        object_type=st.just(kind),
        repository_unique_id=oids,
        author=many(authors),
        comments=strings,
        document_availability=st.none() | st.just("urn:ihe:iti:2010:DocumentAvailability:Offline"),
        event_code_list=many(codes),
        legal_authenticator=st.none() | xcns,
        reference_id_list=many(references),
        service_start_time=st.none() | times,
        service_stop_time=st.none() | times,
        source_patient_info=many(texts.map("PID-5|{}".format)),
        title=strings,
        uri=st.just(()) | texts.map(lambda text: (text,)) | many(texts.map("1|{}".format)),
    )
    return draw(entry)


@st.composite
def submission_sets(draw: st.DrawFn) -> SubmissionSet:
    return draw(
        st.builds(
            SubmissionSet,
            **_common(draw(uuids)),
            unique_id=oids,
            source_id=oids,
            patient_id=patient_ids,
            content_type_code=codes,
            submission_time=times,
            author=many(authors),
            comments=strings,
            intended_recipient=many(recipients),
            title=strings,
        )
    )


@st.composite
def folders(draw: st.DrawFn) -> Folder:
    return draw(
        st.builds(
            Folder,
            **_common(draw(uuids)),
            unique_id=oids,
            patient_id=patient_ids,
            code_list=many(codes, 1),
            title=many(_string, 1).filter(lambda texts: any(one.value.strip() for one in texts)),
            comments=strings,
            last_update_time=st.none() | times,
        )
    )


@st.composite
def associations(draw: st.DrawFn, ends: list[str]) -> Association:
    return draw(
        st.builds(
            Association,
            **_common(draw(uuids)),
            type=st.sampled_from(AssociationType) | st.just("urn:x:own"),
            source=st.sampled_from(ends),
            target=st.sampled_from(ends),
            submission_set_status=st.none()
            | st.sampled_from((SubmissionSetStatus.ORIGINAL, SubmissionSetStatus.REFERENCE)),
            documentation=st.none() | codes,
            name=strings,
            description=strings,
        )
    )


@st.composite
def submissions(draw: st.DrawFn) -> Submission:
    """Readable; whether it keeps the rules is another matter."""
    set_ = draw(submission_sets())
    entries = draw(st.lists(document_entries(), max_size=2))
    several = draw(st.lists(folders(), max_size=1))
    ends = [item.entry_uuid for item in (set_, *entries, *several)]
    return Submission(set_, tuple(entries), tuple(several), tuple(draw(st.lists(associations(ends), max_size=2))))
