from __future__ import annotations

from pathlib import Path

import comparison
import pyarrow as pa
import pyarrow.parquet as pq


def _run(directory: Path, ids: list[str], values: list[float], rejects: str = '{"line": 7}\n') -> Path:
    directory.mkdir()
    pq.write_table(pa.table({"id": ids, "value": values}), directory / "results.parquet")
    (directory / "rejects.jsonl").write_text(rejects)
    return directory


def test_equal_runs_have_nothing_lost_doubled_or_different(tmp_path: Path) -> None:
    runs = (_run(tmp_path / name, ["a", "b"], [1.0, 2.0]) for name in ("calm", "tried"))
    assert comparison.count(*runs) == {"records": 3, "lost": 0, "doubled": 0, "different": 0}


def test_lost_doubled_and_different_results_are_counted_each(tmp_path: Path) -> None:
    calm = _run(tmp_path / "calm", ["a", "b", "c", "d"], [1.0, 2.0, 3.0, 4.0])
    tried = _run(tmp_path / "tried", ["a", "a", "c"], [1.0, 1.0, 9.0])
    assert comparison.count(calm, tried) == {"records": 4, "lost": 2, "doubled": 1, "different": 1}


def test_a_reject_that_is_missing_is_lost(tmp_path: Path) -> None:
    calm = _run(tmp_path / "calm", ["a"], [1.0])
    tried = _run(tmp_path / "tried", ["a"], [1.0], rejects="")
    assert comparison.count(calm, tried)["lost"] == 1


def test_another_order_and_other_columns_are_different(tmp_path: Path) -> None:
    calm = _run(tmp_path / "calm", ["a", "b"], [1.0, 2.0])
    assert comparison.count(calm, _run(tmp_path / "order", ["b", "a"], [2.0, 1.0]))["different"] == 1
    other = _run(tmp_path / "other", ["a", "b"], [1.0, 2.0])
    pq.write_table(pa.table({"id": ["a", "b"], "worth": [1.0, 2.0]}), other / "results.parquet")
    assert comparison.count(calm, other)["different"] == 2
