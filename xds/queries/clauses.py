"""What ITI-51 takes over from ITI-18, cited by ITI-51's own clauses.

ITI TF-2: 3.51.4.1.2: the message semantics are those of ITI-18, but for the queries (.1) and their ids (.2).
"""

from __future__ import annotations

from dataclasses import replace

from xds.errors import Finding

# By clause of ITI-18: where ITI-51 says the same, or that it holds.
_OF_ITI_51 = {
    "ITI TF-2: 3.18.4.1.2.3.1": "ITI TF-2: 3.51.4.1.2",  # returnType
    "ITI TF-2: 3.18.4.1.2.3.4": "ITI TF-2: 3.51.4.1.2.1",  # codes: footnote 1 of the tables
    "ITI TF-2: 3.18.4.1.2.3.5": "ITI TF-2: 3.51.4.1.2",  # coding style
    "ITI TF-2: 3.18.4.1.2.3.7": "ITI TF-2: 3.51.4.1.2.1",  # the parameters of each query
    "ITI TF-2: 3.18.4.1.2.4": "ITI TF-2: 3.51.4.1.2.2",  # query ids
    "ITI TF-2: 3.18.4.1.3": "ITI TF-2: 3.51.4.1.3",  # expected actions
    "XDS Metadata Update: 3.18": "ITI TF-2: 3.51.4.1.2",  # what the supplement adds to ITI-18
}


def of_iti_51(finding: Finding) -> Finding:
    """A finding of a query that was asked by ITI-51; what has no clause of ITI-18 is as it was."""
    for cited, own in _OF_ITI_51.items():
        if finding.context.endswith(f"({cited})"):
            return replace(finding, context=f"{finding.context.removesuffix(f'({cited})')}({own})")
    return finding
