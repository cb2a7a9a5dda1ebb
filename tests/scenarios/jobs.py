"""services.ray.jobs: what a job prints and how it ends is what its unit prints and how that ends."""

alone.start()
alone.wait_for_unit("ray-head.service", timeout=180)
# A switch does not wait for jobs, so not for those that fail either.
switch(alone, "jobs")


def wait_for(unit, **properties):
    """Wait until systemd says these things of a unit."""
    retry(lambda _last: all(property_of(alone, unit, name) == value for name, value in properties.items()), 300)


def jobs():
    """What the head knows of each job: how often it was begun and how that ended."""
    answer = alone.succeed('curl --fail -sH "Authorization: Bearer $(cat /var/lib/ray/token)" 127.0.0.1:8265/api/jobs/')
    states = {}
    for job in json.loads(answer):
        states.setdefault(job["metadata"]["ray-nixos/job"], []).append(job["status"])
    return states


with subtest("a job succeeds, and its log is in the journal"):
    wait_for("ray-job-once", ActiveState="inactive", Result="success")
    alone.succeed(in_journal("ray-job-once", "hello from 2.60.0"))

with subtest("a job that fails is tried again"):
    wait_for("ray-job-again", ActiveState="inactive", Result="success")
    assert sorted(jobs()["again"]) == ["FAILED", "SUCCEEDED"]
    alone.succeed(in_journal("ray-job-again", "exit code 7"))

with subtest("a job that goes on failing is a failed unit"):
    wait_for("ray-job-fails", ActiveState="failed", Result="exit-code")
    assert jobs()["fails"] == ["FAILED"]

with subtest("a job on a schedule runs again and again, and the head remembers the last two"):
    retry(lambda _last: int(alone.succeed("cat /var/lib/ray/often 2> /dev/null | wc -l")) >= 3, 300)
    alone.succeed("systemctl stop ray-job-often.timer")
    wait_for("ray-job-often", ActiveState="inactive", Result="success")
    assert jobs()["often"] == ["SUCCEEDED"] * 2, jobs()

with subtest("stopping the unit stops the job, and starting it begins another"):
    wait_for("ray-job-waits", SubState="running")
    retry(lambda _last: jobs()["waits"] == ["RUNNING"], 300)
    alone.succeed("systemctl stop ray-job-waits", timeout=60)
    assert property_of(alone, "ray-job-waits", "Result") == "success"
    assert jobs()["waits"] == ["STOPPED"]
    alone.fail("pgrep --full 'sleep 1000'")
    alone.succeed("systemctl start ray-job-waits")
    retry(lambda _last: sorted(jobs()["waits"]) == ["RUNNING", "STOPPED"], 300)

with subtest("a head that starts anew knows what has succeeded, and a job that it took along has failed"):
    alone.succeed("systemctl restart ray-head", timeout=180)
    wait_for("ray-job-waits", ActiveState="failed")
    alone.succeed("systemctl start ray-job-once")
    wait_for("ray-job-once", ActiveState="inactive", Result="success")
    alone.succeed(in_journal("ray-job-once", "has succeeded before"))
    assert jobs()["once"] == ["SUCCEEDED"]

with subtest("no token in the unit's arguments, and no more rights than the head has"):
    alone.fail('systemctl show --property=ExecStart ray-job-once | grep -F "$(cat /var/lib/ray/token)"')
    exposure = alone.succeed("systemd-analyze security --no-pager ray-job-once | tail -1")
    assert float(exposure.split("level for ray-job-once.service:")[1].split()[0]) <= 1.5, exposure
