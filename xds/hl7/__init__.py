"""HL7 messages that say who the domain's patients are: version 2 (ITI-8) and version 3 (ITI-44)."""
