"""`harness list`: what the folders say about themselves, to people and to programs."""

from collections.abc import Sequence
from textwrap import fill

from tabulate import tabulate

from harness.printable import json_text
from harness.submissions import Broken, Submission


def table_of(found: Sequence[Submission | Broken]) -> str:
    """A line for each, of a width that most terminals have."""
    rows = [
        [entry.name, entry.manifest.title, ", ".join(entry.manifest.authors), entry.division]
        if isinstance(entry, Submission)
        else [entry.name, f"broken: {entry.error.message}", "", ""]
        for entry in found
    ]
    for row in rows:  # folded here: tabulate makes numbers of titles that look like some when it folds
        row[1], row[2] = fill(row[1], 60), fill(row[2], 30)
    return tabulate(rows, headers=["submission", "title", "authors", "division"], disable_numparse=True)


def json_of(found: Sequence[Submission | Broken]) -> str:
    """Everything in the manifests, with the fingerprints that records hold."""
    return json_text([_description(entry) for entry in found])


def _description(entry: Submission | Broken) -> dict[str, object]:
    if isinstance(entry, Broken):
        return {"name": entry.name, "error": entry.error.message}
    manifest = entry.manifest.model_dump(mode="json", exclude={"hyperparameters"})
    return {
        "name": entry.name,
        "division": entry.division,
        "fingerprint": entry.fingerprint,
        **manifest,
        "hyperparameters": entry.manifest.hyperparameters.set_values(),
    }
