"""ebXML fragments small on disk: deflate with a dictionary of what every entry repeats.

The first byte names the dictionary, so that another may follow without touching old rows.
"""

from __future__ import annotations

import zlib

from xds.metadata import vocabulary as v

_WORDS = [
    '<rim:LocalizedString value="', '<rim:Name>', '</rim:Name>', '<rim:Slot name="codingScheme">',
    '<rim:ValueList><rim:Value>', '</rim:Value></rim:ValueList></rim:Slot>', '<rim:Classification id="urn:uuid:',
    '" objectType="urn:oasis:names:tc:ebxml-regrep:ObjectType:RegistryObject:Classification"',
    ' classificationScheme="', ' classifiedObject="urn:uuid:', ' nodeRepresentation="', '</rim:Classification>',
    '<rim:ExternalIdentifier id="urn:uuid:', '" objectType="urn:oasis:names:tc:ebxml-regrep:ObjectType:'
    'RegistryObject:ExternalIdentifier" registryObject="urn:uuid:', ' identificationScheme="', ' value="',
    '<rim:ExtrinsicObject xmlns:rim="urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0" id="urn:uuid:',
    *(f'<rim:Slot name="{slot}"><rim:ValueList><rim:Value>' for slot in (
        "creationTime", "hash", "languageCode", "repositoryUniqueId", "serviceStartTime", "serviceStopTime", "size",
        "sourcePatientId", "sourcePatientInfo", v.REFERENCE_ID_LIST, "SubmissionSetStatus", "submissionTime",
    )),
    *(coded.scheme for table in (v.DOCUMENT_ENTRY_CODES, v.SUBMISSION_SET_CODES, v.FOLDER_CODES)
      for coded in table.values()),
    v.DOCUMENT_ENTRY_AUTHOR, v.DOCUMENT_ENTRY_PATIENT_ID, v.DOCUMENT_ENTRY_UNIQUE_ID, v.SUBMISSION_SET_PATIENT_ID,
    v.SUBMISSION_SET_SOURCE_ID, v.SUBMISSION_SET_UNIQUE_ID, v.STABLE, *v.AssociationType, *v.AvailabilityStatus,
]  # fmt: skip
_DICTIONARY = "".join(_WORDS).encode()
_FIRST = b"\x01"


def pack(fragment: bytes) -> bytes:
    """The stored form of a fragment."""
    compressor = zlib.compressobj(6, zdict=_DICTIONARY)
    return _FIRST + compressor.compress(fragment) + compressor.flush()


def unpack(stored: bytes) -> bytes:
    """The fragment again.

    Raises:
        ValueError: packed with a dictionary of a later version.
    """
    if stored[:1] != _FIRST:
        raise ValueError("a fragment of a later version")
    return zlib.decompressobj(zdict=_DICTIONARY).decompress(stored[1:])
