"""A disturbed run beside the undisturbed one, as counts: what was lost, what came twice, what is another result.

Of pyarrow and the standard library only, because it runs on a machine of the cluster:
`comparison.py UNDISTURBED DISTURBED` prints the counts as JSON.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def count(calm: Path, tried: Path) -> dict[str, int]:
    """Results and rejects that the directory of a run lacks, has too often, and has with other values."""
    one, two = (pq.read_table(run / "results.parquet") for run in (calm, tried))
    wanted, found = (
        Counter(table["id"].to_pylist()) + Counter((run / "rejects.jsonl").read_text().splitlines())
        for table, run in ((one, calm), (two, tried))
    )
    return {
        "records": found.total(),
        "lost": (wanted - found).total(),
        "doubled": (found - wanted).total(),
        "different": _different(one, two),
    }


def _different(one: pa.Table, two: pa.Table) -> int:
    """Rows of two that are not what one has under their id; every row where the columns are others."""
    if one.equals(two):
        return 0
    if one.schema != two.schema:
        return int(two.num_rows)
    wanted = {row["id"]: repr(row) for row in one.to_pylist()}
    found = [(row["id"], repr(row)) for row in two.to_pylist()]
    # The same rows in another order are another result too: the file is compared as it is.
    return sum(wanted.get(name, row) != row for name, row in found) or int(one.num_rows == two.num_rows)


if __name__ == "__main__":
    print(json.dumps(count(*map(Path, sys.argv[1:3]))))
