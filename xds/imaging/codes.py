"""Tables of DICOM's codes: modalities, document titles of Key Object Selections, kinds of SOP class.

DICOM PS3.16 and PS3.4 as pydicom 3.0.2 publishes them (edition 2024e).
"""

from __future__ import annotations

from typing import Literal

from pydicom import config
from pydicom.uid import UID

from xds.imaging.manifest import Code

DCM = "DCM"
"""DICOM Controlled Terminology.  PS3.16: Annex D."""

KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
"""SOP Class UID of the Key Object Selection Document.  PS3.4: Table B.5-1."""

MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
"""SOP Class UID of a DICOMDIR.  PS3.4: I.4."""

# Modalities that acquire.  PS3.16: CID 29.
ACQUISITION_MODALITIES = {
    "AR": "Autorefraction",
    "BDUS": "Ultrasound Bone Densitometry",
    "BI": "Biomagnetic Imaging",
    "BMD": "Bone Mineral Densitometry",
    "CFM": "Confocal Microscopy",
    "CR": "Computed Radiography",
    "CT": "Computed Tomography",
    "DG": "Diaphanography",
    "DMS": "Dermoscopy",
    "DX": "Digital Radiography",
    "ECG": "Electrocardiography",
    "EEG": "Electroencephalography",
    "EMG": "Electromyography",
    "EOG": "Electrooculography",
    "EPS": "Cardiac Electrophysiology",
    "ES": "Endoscopy",
    "GM": "General Microscopy",
    "HD": "Hemodynamic Waveform",
    "IO": "Intra-oral Radiography",
    "IVOCT": "Intravascular Optical Coherence Tomography",
    "IVUS": "Intravascular Ultrasound",
    "KER": "Keratometry",
    "LEN": "Lensometry",
    "LS": "Laser Scan",
    "MG": "Mammography",
    "MR": "Magnetic Resonance",
    "NM": "Nuclear Medicine",
    "OAM": "Ophthalmic Axial Measurements",
    "OCT": "Optical Coherence Tomography",
    "OP": "Ophthalmic Photography",
    "OPM": "Ophthalmic Mapping",
    "OPT": "Ophthalmic Tomography",
    "OPTBSV": "Ophthalmic Tomography B-scan Volume Analysis",
    "OPTENF": "Ophthalmic Tomography En Face",
    "OPV": "Ophthalmic Visual Field",
    "OSS": "Optical Surface Scanner",
    "PA": "Photoacoustic",
    "POS": "Position Sensor",
    "PT": "Positron Emission Tomography",
    "PX": "Panoramic X-Ray",
    "RESP": "Respiratory Waveform",
    "RF": "Radiofluoroscopy",
    "RG": "Radiographic imaging",
    "RTIMAGE": "RT Image",
    "SM": "Slide Microscopy",
    "SRF": "Subjective Refraction",
    "TG": "Thermography",
    "US": "Ultrasound",
    "VA": "Visual Acuity",
    "XA": "X-Ray Angiography",
    "XC": "External-camera Photography",
}

# Modalities that do not.  PS3.16: CID 32.  Both together are CID 33.
OTHER_MODALITIES = {
    "ASMT": "Content Assessment Result",
    "AU": "Basic Voice Audio",
    "CTPROTOCOL": "CT Protocol",
    "DOC": "Document",
    "FID": "Spatial Fiducials",
    "HC": "Hard Copy",
    "IOL": "Intraocular Lens Calculation",
    "KO": "Key Object Selection",
    "M3D": "Model for 3D Manufacturing",
    "OT": "Other",
    "PLAN": "Plan",
    "PR": "Presentation State",
    "REG": "Registration",
    "RTDOSE": "RT Dose",
    "RTPLAN": "RT Plan",
    "RTRECORD": "RT Treatment Record",
    "RTSTRUCT": "RT Structure Set",
    "RWV": "Real World Value Map",
    "SEG": "Segmentation",
    "SMR": "Stereometric Relationship",
    "SR": "Structured Report Document",
    "STAIN": "Automated Slide Stainer",
    "TEXTUREMAP": "Texture Map",
}

# Titles of a Key Object Selection.  PS3.16: CID 7010.
DOCUMENT_TITLES = {
    "113000": "Of Interest",
    "113001": "Rejected for Quality Reasons",
    "113002": "For Referring Provider",
    "113003": "For Surgery",
    "113004": "For Teaching",
    "113005": "For Conference",
    "113006": "For Therapy",
    "113007": "For Patient",
    "113008": "For Peer Review",
    "113009": "For Research",
    "113010": "Quality Issue",
    "113013": "Best In Set",
    "113018": "For Printing",
    "113020": "For Report Attachment",
    "113021": "For Litigation",
    "113022": "Collection of Presentation States",
    "113030": "Manifest",
    "113031": "Signed Manifest",
    "113032": "Complete Study Content",
    "113033": "Signed Complete Study Content",
    "113034": "Complete Acquisition Content",
    "113035": "Signed Complete Acquisition Content",
    "113036": "Group of Frames for Display",
    "113037": "Rejected for Patient Safety Reasons",
    "113038": "Incorrect Modality Worklist Entry",
    "113039": "Data Retention Policy Expired",
    "128180": "For RT Workflow",
    "128181": "Diagnostic Source Images",
    "128182": "Segmentation Result",
    "128183": "Registration Result",
    "128184": "Pre-Planning Result",
    "128185": "RT Prescription Result",
    "128186": "Dose Calculation Image Series",
    "128187": "Coordinate Alignment Image Series",
    "128188": "RT Treatment Simulation Result",
    "128189": "RT Planning Result",
    "128190": "Dosimetric Result",
    "128191": "Patient Setup Verification Result",
    "128192": "RT Treatment Session Result",
    "128193": "RT Treatment Course Summary",
    "128194": "RT Treatment QA Result",
    "128195": "For Diagnosis",
    "128196": "For Segmentation",
    "128197": "For RT Prescription",
    "128198": "For RT Treatment Planning",
    "128199": "For Plan Comparison",
    "128200": "For RT Plan Summation",
    "128201": "For Physician Review",
    "128202": "For Physicist Review",
    "128203": "For Tumor Board",
    "128204": "For Plan Quality Assurance",
    "128205": "For Machine Quality Assurance",
    "128206": "For Patient Setup Verification",
    "128207": "For Clinical Trial Submission",
    "128208": "For Tumor Registry",
    "128209": "RT Workflow Input Used",
    "128210": "RT Prescription Input Used",
    "128211": "RT Treatment Planning Input Used",
    "128212": "RT Plan Summation Input Used",
    "128213": "Physician Review Input Used",
    "128214": "Physicist Review Input Used",
    "128215": "Plan Quality Assurance Input Used",
    "128216": "Machine Quality Assurance Input Used",
    "128217": "Patient Setup Verification Input Used",
    "128218": "Diagnosis Input Used",
    "128219": "Contouring Input Used",
    "128220": "Plan Comparison Input Used",
    "128221": "Tumor Board Input Used",
    "128222": "Tumor Registry Input Used",
    "128223": "Clinical Trial Submission Input Used",
    "128710": "For Teaching File Export",
    "128711": "For Clinical Trial Export",
    "128713": "For Research Collection Export",
    "128714": "For Publication Export",
    "130370": "RTV Rendition",
    "130371": "RTV Audio and Video Rendition",
    "130372": "RTV Stereo Video Rendition",
    "130373": "RTV Audio and Stereo Video Rendition",
}

REJECTION_NOTES = frozenset({"113001", "113037", "113038", "113039"})
"""Titles that take instances back.  IHE RAD IOCM; such a document is no manifest."""

# SOP classes whose instances are images although their names do not say "Image Storage": they have the
# Image Pixel module.  PS3.3: Annex A.
_IMAGES_BY_ANOTHER_NAME = {
    "1.2.840.10008.5.1.4.1.1.66.4": "Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.30": "Parametric Map Storage",
    "1.2.840.10008.5.1.4.1.1.481.2": "RT Dose Storage",
    "1.2.840.10008.5.1.4.1.1.81.1": "Ophthalmic Thickness Map Storage",
    "1.2.840.10008.5.1.4.1.1.82.1": "Corneal Topography Map Storage",
}

ValueType = Literal["IMAGE", "WAVEFORM", "COMPOSITE"]


def value_type(sop_class_uid: str) -> ValueType:
    """How a content tree refers to an instance of this class.  PS3.16: TID 2010, rows 6 to 8; PS3.3: C.17.3.2.1."""
    name = UID(sop_class_uid, validation_mode=config.IGNORE).name
    if "Image Storage" in name or sop_class_uid in _IMAGES_BY_ANOTHER_NAME:
        return "IMAGE"
    if "Waveform Storage" in name:
        return "WAVEFORM"
    return "COMPOSITE"


def modality(code: str) -> Code | None:
    """The code of a value of Modality (0008,0060); ``None`` for one that DICOM does not have."""
    code = _RENAMED_MODALITIES.get(code, code)
    meaning = ACQUISITION_MODALITIES.get(code) or OTHER_MODALITIES.get(code)
    return Code(code, DCM, meaning) if meaning else None


# Retired defined terms and what stands for them now.  PS3.3: C.7.3.1.1.1.
_RENAMED_MODALITIES = {
    "CD": "US",
    "DD": "US",
    "DF": "RF",
    "DS": "XA",
    "MA": "MR",
    "MS": "MR",
    "ST": "NM",
    "VF": "RF",
    "CF": "RF",
    "CP": "GM",
    "CS": "GM",
    "LP": "ES",
    "FS": "OP",
    "FA": "OP",
}


def is_acquisition(code: str) -> bool:
    """Whether a modality acquires, as what DocumentEntry.eventCodeList names does.  PS3.16: CID 29."""
    return _RENAMED_MODALITIES.get(code, code) in ACQUISITION_MODALITIES


def document_title(code: str) -> Code | None:
    """The title of a Key Object Selection; ``None`` for a code outside CID 7010."""
    meaning = DOCUMENT_TITLES.get(code)
    return Code(code, DCM, meaning) if meaning else None


def is_rejection_note(title: Code) -> bool:
    """Whether a Key Object Selection of this title takes back what it lists.  IHE RAD IOCM."""
    return title.scheme == DCM and title.value in REJECTION_NOTES
