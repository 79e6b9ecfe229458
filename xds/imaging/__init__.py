"""Manifests, and what DICOM says of a study; no SQL, no SOAP."""

from __future__ import annotations

import logging
import warnings

from pydicom import config

# What pydicom says of odd values quotes them: patients' names in a log.  Odd values are many in archives,
# and what matters of them is said by this package.  The switches are the process's, because
# warnings.catch_warnings is not safe with threads.
config.settings.reading_validation_mode = config.IGNORE
config.settings.writing_validation_mode = config.IGNORE
logging.getLogger("pydicom").addHandler(logging.NullHandler())
logging.getLogger("pydicom").propagate = False
warnings.filterwarnings("ignore", module=r"pydicom\.")
