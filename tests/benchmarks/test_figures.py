from __future__ import annotations

import math

import recovery  # first: it finds the driver that the others need
import soak_report
from kills import Kill, Kills
from soak_report import Run

ACTOR = ("actor", "answers")


def _rounds(bare: list[float], ours: list[float]) -> dict[str, list[dict[tuple[str, str], float]]]:
    return {"bare": [{ACTOR: x} for x in bare], "unit": [{ACTOR: x} for x in ours]}


def test_a_recovery_is_kept_up_to_the_limit_and_not_beyond() -> None:
    (row,) = recovery.compare(_rounds([9.0, 10.0, 30.0], [12.9, 1.0, 50.0]))
    assert (row["bare"], row["services.ray"], row["at most"], row["kept"]) == (10.0, 12.9, 13.0, True)
    (row,) = recovery.compare(_rounds([10.0], [13.1]))
    assert row["kept"] is False
    assert "NOT KEPT" in recovery.markdown([row])


def test_what_bare_ray_never_recovers_from_is_kept_where_this_does_and_only_there() -> None:
    (row,) = recovery.compare(_rounds([math.inf], [40.0]))
    assert row["kept"] is True and row["bare"] is None
    assert "never within 60 s" in recovery.markdown([row])
    (row,) = recovery.compare(_rounds([math.inf], [math.inf]))
    assert row["kept"] is False


def _kills() -> tuple[Kills, Kill]:
    kills = Kills([], seed=0)
    kill = Kill("actor", "worker", process=1, at=20.0, committed=100, seen=100)
    kills.all.append(kill)
    return kills, kill


def test_a_kill_is_recovered_from_by_the_second_commit_while_all_nodes_are_alive() -> None:
    kills, kill = _kills()
    assert not kills.observe(21.0, 200, whole=True)
    assert not kills.observe(22.0, 200, whole=True)
    assert not kills.observe(25.0, 300, whole=False)
    assert kills.observe(26.0, 300, whole=True) == [kill]
    assert kill.recovered == 6.0
    assert not kills.open()


def test_the_end_of_a_run_shows_that_it_went_on() -> None:
    kills, kill = _kills()
    kills.run_ended()
    assert kills.observe(23.0, 100, whole=True) == [kill]


def test_a_soak_is_good_when_runs_ended_and_nothing_is_missing() -> None:
    calm, run = Run("undisturbed", records=100, seconds=1.0), Run("soak-0", records=100, seconds=4.0)
    kills, _ = _kills()
    assert soak_report.good(soak_report.figures(calm, [run], kills.all, 50, 2.0))
    assert not soak_report.good(soak_report.figures(calm, [], [], 50, 2.0))
    for bad in ({"lost": 1}, {"doubled": 1}, {"different": 1}, {"failed": "no cluster"}):
        found = soak_report.figures(calm, [run, Run("soak-1", seconds=1.0, **bad)], kills.all, 50, 2.0)
        assert not soak_report.good(found), bad


def test_the_throughput_is_that_of_the_time_in_which_processes_were_killed() -> None:
    calm = Run("undisturbed", records=100, seconds=1.0)
    found = soak_report.figures(calm, [], [], records=50, seconds=2.0)
    assert (found["records_per_second"], found["undisturbed_records_per_second"], found["share"]) == (25.0, 100.0, 0.25)


def test_kills_are_drawn_anew_by_their_seed() -> None:
    first, again, other = (Kills([], seed)._random.random() for seed in (1, 1, 2))
    assert first == again != other
