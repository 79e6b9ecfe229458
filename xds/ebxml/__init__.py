"""ebXML elements to plain objects and back, one file a schema."""
