"""Machines lose their power while `cognitive run` is at work: nothing is lost, nothing comes twice."""

bring_up(head, worker, worker2)
prepare_runs(worker2)

with subtest("a worker loses its power"):
    start_run(worker2, "worker")
    wait_for_progress(worker2, "worker")
    worker.crash()
    finish_run(worker2, "worker")
    assert compare_runs(worker2, "worker")["actor_losses"] > 0

with subtest("the head is restarted"):
    worker.start()
    worker.wait_for_unit("ray-worker.service", timeout=180)
    start_run(worker2, "head")
    wait_for_progress(worker2, "head")
    head.reboot()
    finish_run(worker2, "head")
    compare_runs(worker2, "head")

with subtest("two machines at once, the head among them"):
    wait_for_nodes(head, 3)
    start_run(worker2, "two")
    wait_for_progress(worker2, "two")
    head.crash()
    worker.crash()
    head.start()
    worker.start()
    finish_run(worker2, "two")
    compare_runs(worker2, "two")

wait_for_nodes(head, 3)
