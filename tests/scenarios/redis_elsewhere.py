"""With its state in a Redis on another machine, over TLS, a head that has lost its disk is still the same head."""

# A port that the machine's firewall lets the cluster reach.
PORT = 10190
KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"

bring_up(head, worker)
worker2.start()
worker2.succeed("systemctl stop ray-worker", timeout=90)

with subtest("a Redis that speaks TLS alone, and to holders of a certificate alone"):
    worker2.succeed("install -d -m 0700 /var/lib/redis")
    worker2.succeed(f"cd /var/lib/redis && openssl req -x509 {KEY} -keyout ca.key -out ca.pem -subj /CN=redis")
    for name, use in (("server", "serverAuth"), ("client", "clientAuth")):
        worker2.succeed(
            f"cd /var/lib/redis && openssl req -x509 {KEY} -keyout {name}.key -out {name}.pem -subj /CN={name} "
            f"-CA ca.pem -CAkey ca.key -addext basicConstraints=critical,CA:false -addext extendedKeyUsage={use} "
            f"-addext subjectAltName=IP:10.42.0.3"
        )
    worker2.succeed(
        "cd /var/lib/redis && openssl rand -hex 32 > password",
        f"""cd /var/lib/redis && cat > redis.conf <<END
bind 10.42.0.3
port 0
tls-port {PORT}
tls-cert-file /var/lib/redis/server.pem
tls-key-file /var/lib/redis/server.key
tls-ca-cert-file /var/lib/redis/ca.pem
tls-auth-clients yes
requirepass $(cat password)
appendonly yes
dir /var/lib/redis
END""",
        'systemd-run --unit=redis-elsewhere "$(command -v redis-server)" /var/lib/redis/redis.conf',
    )
    worker2.wait_for_open_port(PORT, "10.42.0.3", timeout=30)
    head.succeed(f"install -d -m 0755 {SECRETS}")
    for name in ("ca.pem", "client.pem", "client.key", "password"):
        content = worker2.succeed(f"cat /var/lib/redis/{name}")
        head.succeed(
            f"install -m 0600 /dev/null {SECRETS}/redis-{name}", f"cat > {SECRETS}/redis-{name} <<'END'\n{content}END"
        )

with subtest("the cluster comes up with it"):
    switch(head, "redis-elsewhere")
    head.wait_for_unit("ray-head.service", timeout=180)
    worker.succeed("systemctl restart ray-worker", timeout=180)
    wait_for_nodes(head, 2)
    head.fail("systemctl is-active redis-ray")

with subtest("a head without its disk has its actors back"):
    count = """
import ray
ray.init(logging_level="ERROR", namespace="test")
@ray.remote(num_cpus=0, resources={"node:10.42.0.2": 0.001}, max_restarts=0)
class Counter:
    def __init__(self):
        self.count = 0
    def up(self):
        self.count += 1
        return self.count
counter = Counter.options(name="counter", lifetime="detached", get_if_exists=True).remote()
print(ray.get(counter.up.remote(), timeout=60))
"""
    before = property_of(worker, "ray-worker", "MainPID")
    assert python(head, count).strip().endswith("1")
    head.succeed("systemctl stop ray-head", timeout=60)
    head.succeed("find /var/lib/ray -mindepth 1 -not -name token -delete")
    head.succeed("systemctl start ray-head", timeout=120)
    assert python(head, count).strip().endswith("2")
    assert property_of(worker, "ray-worker", "MainPID") == before

with subtest("the password is in no argument, no environment and no log"):
    password = f"{SECRETS}/redis-password"
    head.succeed(f"grep -aqFf {password} {password}")
    for place in ("/proc/[0-9]*/cmdline", "/proc/[0-9]*/environ", "-r /var/lib/ray /etc"):
        head.fail(f"grep -aqsFf {password} {place}")
