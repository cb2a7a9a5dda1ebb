"""Machines restart, and lose their power; the cluster is whole again without anyone's doing."""

bring_up(head, worker, worker2)

with subtest("a worker is restarted"):
    worker.reboot()
    worker.wait_for_unit("ray-worker.service", timeout=180)
    wait_for_nodes(head, 3)

with subtest("a worker loses its power"):
    worker2.crash()
    worker2.start()
    worker2.wait_for_unit("ray-worker.service", timeout=180)
    wait_for_nodes(head, 3)

with subtest("the head is restarted, with the token it had"):
    token = head.succeed("cat /var/lib/ray/token")
    head.reboot()
    head.wait_for_unit("ray-head.service", timeout=180)
    assert head.succeed("cat /var/lib/ray/token") == token
    wait_for_nodes(head, 3, timeout=180)
