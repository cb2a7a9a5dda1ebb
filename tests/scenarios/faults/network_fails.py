"""The network is slow, or gone for a while, while `cognitive run` is at work: nothing is lost, nothing comes twice."""

bring_up(head, worker, worker2)
prepare_runs(worker2)

with subtest("a slow network: 4 Mbit/s, full buffers"):
    start_run(worker2, "slow")
    wait_for_progress(worker2, "slow")
    for machine in (head, worker, worker2):
        machine.succeed("tc qdisc add dev cluster0 root tbf rate 4mbit burst 16kb latency 400ms")
    finish_run(worker2, "slow")
    for machine in (head, worker, worker2):
        machine.succeed("tc qdisc del dev cluster0 root")
    compare_runs(worker2, "slow")
    wait_for_nodes(head, 3)

with subtest("a worker is cut off for 30 seconds"):
    start_run(worker2, "short")
    wait_for_progress(worker2, "short")
    worker.block()
    worker.sleep(30)
    worker.unblock()
    finish_run(worker2, "short")
    compare_runs(worker2, "short")
    wait_for_nodes(head, 3)

with subtest("the machine of the run itself is cut off"):
    start_run(worker2, "own")
    wait_for_progress(worker2, "own")
    worker2.block()
    worker2.sleep(30)
    worker2.unblock()
    finish_run(worker2, "own")
    compare_runs(worker2, "own")

wait_for_nodes(head, 3)
