"""Every case, in one table."""

from __future__ import annotations

from tests.hostile import documents, encodings, fields, framing, heads, strays
from tests.hostile.case import Case

GROUPS = {
    "heads": heads.CASES,
    "framing": framing.CASES,
    "documents": documents.CASES,
    "encodings": encodings.CASES,
    "fields": fields.CASES,
    "strays": strays.CASES,
}
CASES: tuple[Case, ...] = tuple(case for cases in GROUPS.values() for case in cases)
