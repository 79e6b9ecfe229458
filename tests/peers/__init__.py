"""Other people's clients against a real ``xds serve``, where Java and Maven are there: ``python -m tests.peers``.

``ipf/`` is a journey by IPF, with its validators on each request and answer, ``ipf_v3/`` its
feed by HL7 v3; ``hapi/`` is HAPI FHIR's validator of R4.
"""
