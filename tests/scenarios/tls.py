"""With TLS, who has no certificate of the cluster's authority does not even get an answer."""

for machine in (head, worker):
    machine.start()
hand_out_token(head, worker)
issue_certificates(head, {head: "10.42.0.1", worker: "10.42.0.2"})

with subtest("both switch to TLS and find each other"):
    for machine, unit in ((head, "ray-head"), (worker, "ray-worker")):
        switch(machine, "tls")
        machine.wait_for_unit(f"{unit}.service", timeout=180)
    wait_for_nodes(head, 2, timeout=180, environment=TLS)
    where = python(
        head,
        """
import socket, ray
ray.init(logging_level="ERROR")
@ray.remote(num_cpus=0, resources={"node:10.42.0.2": 0.001})
def name():
    return socket.gethostname()
print(ray.get(name.remote(), timeout=60))
""",
        environment=TLS,
    )
    assert where.strip().endswith("worker"), where

with subtest("without a certificate nothing answers"):
    ask = (
        "printf '\\0\\0\\0\\0\\0' | curl -sS -m 5 {options} -X POST "
        "-H 'content-type: application/grpc' -H 'te: trailers' --data-binary @- "
        "{scheme}://10.42.0.1:{port}/grpc.health.v1.Health/Check -o /tmp/answer"
    )
    certificate = f"--http2 --cacert {SECRETS}/ca.pem --cert {SECRETS}/node.pem --key {SECRETS}/node.key"
    for port in (6379, 6380):
        worker.succeed(ask.format(options=certificate, scheme="https", port=port))
        worker.fail(ask.format(options=f"--http2 --cacert {SECRETS}/ca.pem", scheme="https", port=port))
        worker.fail(ask.format(options="--http2-prior-knowledge", scheme="http", port=port))
    head.succeed(f"{TLS} ray health-check --address {GCS}", timeout=60)
    head.fail(f"RAY_USE_TLS=0 timeout 12 ray health-check --address {GCS}", timeout=60)

with subtest("a stop is still a stop"):
    worker.succeed("systemctl stop ray-worker", timeout=90)
    assert property_of(worker, "ray-worker", "Result") == "success"
