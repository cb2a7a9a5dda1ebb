"""Disk, shared memory and memory run out while `cognitive run` is at work: nothing is lost, nothing comes twice."""

SMALL = "mount -t tmpfs -o size=300M,mode=0755 tmpfs"

for machine in (head, worker, worker2):
    machine.start()
# A disk that can be filled without filling anyone else's.
worker.succeed(
    f"systemctl stop ray-worker; mkdir -p /var/lib/ray; {SMALL} /var/lib/ray; systemctl start --no-block ray-worker"
)
bring_up(head, worker, worker2)
prepare_runs(worker2)

with subtest("the disk of a worker is full"):
    before = property_of(worker, "ray-worker", "MainPID")
    start_run(worker2, "disk")
    wait_for_progress(worker2, "disk")
    worker.succeed("cat /dev/zero > /var/lib/ray/zeros || true")
    worker.fail("echo more > /var/lib/ray/more")
    finish_run(worker2, "disk")
    compare_runs(worker2, "disk")
    worker.succeed("rm -f /var/lib/ray/zeros /var/lib/ray/more")
    wait_for_nodes(head, 3)
    assert property_of(worker, "ray-worker", "MainPID") == before

with subtest("the disk that the results go to is full"):
    worker2.succeed(f"install -d -o ray -g ray {RUNS}/full; mount -t tmpfs -o size=6M,mode=0777 tmpfs {RUNS}/full")
    start_run(worker2, "full")
    retry(lambda _last: unit_state(worker2, "run-full") == "failed", 180)
    worker2.succeed(in_journal("run-full", "No space left on device"))
    assert committed(worker2, "full") > 0
    worker2.succeed("systemctl reset-failed run-full; mount -o remount,size=60M " + f"{RUNS}/full")
    start_run(worker2, "full", "--resume")
    finish_run(worker2, "full")
    compare_runs(worker2, "full")

with subtest("/dev/shm of a worker is full"):
    start_run(worker2, "shm")
    wait_for_progress(worker2, "shm")
    worker.succeed("cat /dev/zero > /dev/shm/zeros || true")
    finish_run(worker2, "shm")
    compare_runs(worker2, "shm")
    worker.succeed("rm /dev/shm/zeros")
    wait_for_nodes(head, 3)

with subtest("a task takes all memory of a worker: it is killed, and nothing else"):
    before = property_of(worker, "ray-worker", "MainPID")
    start_run(worker2, "memory")
    wait_for_progress(worker2, "memory")
    said = python(
        head,
        """
import ray
ray.init(logging_level="ERROR")
@ray.remote(resources={"node:10.42.0.2": 0.001}, num_cpus=0, max_retries=0)
def hog():
    taken = []
    while True:
        taken.append(bytearray(64 << 20))
        taken[-1][::4096] = b"x" * len(taken[-1][::4096])
try:
    ray.get(hog.remote(), timeout=120)
except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
    print("killed:", type(error).__name__)
""",
        timeout=180,
    )
    assert "killed:" in said, said
    finish_run(worker2, "memory")
    compare_runs(worker2, "memory")
    assert property_of(worker, "ray-worker", "MainPID") == before
    assert alive_nodes(head) == ["10.42.0.1", "10.42.0.2", "10.42.0.3"]
