"""FHIR R4, as far as the audit log speaks it: ITI-81 Retrieve ATNA Audit Event."""
