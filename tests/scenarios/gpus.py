"""A node that declares more GPUs than Ray sees does not start, and says so."""

for machine in (head, gpu_worker):
    machine.start()
hand_out_token(head, gpu_worker)
head.wait_for_unit("ray-head.service", timeout=180)

with subtest("it fails with the reason, once"):
    gpu_worker.wait_until_succeeds("systemctl is-failed ray-worker.service", timeout=180)
    gpu_worker.succeed(in_journal("ray-worker", "this node declares 2 GPUs and Ray sees 0"))
    assert property_of(gpu_worker, "ray-worker", "ExecMainStatus") == "78"
    status, _ = gpu_worker.execute("systemctl start ray-worker.service", timeout=120)
    assert status != 0
    assert alive_nodes(head) == ["10.42.0.1"]
