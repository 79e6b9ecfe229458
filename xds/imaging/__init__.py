"""Manifests, and what DICOM says of a study; no SQL, no SOAP."""
