"""Other people's clients against a real ``xds serve``, where Java and Maven are there: ``python -m tests.peers``.

``ipf/`` is a journey by IPF, with its validators on each request and answer; ``hapi/`` is HAPI FHIR's validator of R4.
"""
