"""Every rule of the registry's transactions: one good message, one part spoilt, and the refusal that must follow.

The rules are typed from the frameworks.  ``rules.md`` is written from them: ``python -m tests.conformance``.
"""
