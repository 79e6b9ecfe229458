"""DICOMweb of the Imaging Document Source: WADO-RS (RAD-107), QIDO-RS (RAD-129), WADO-URI (RAD-55).

DICOM PS3.18: 9 (URI service), 10.4 (retrieve), 10.6 (search).
"""
