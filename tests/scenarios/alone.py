"""Enabling the option and nothing else makes a working, authenticated Ray of one machine."""

alone.wait_for_unit("ray-head.service", timeout=180)

with subtest("it works"):
    assert alive_nodes(alone) == ["127.0.0.2"]
    summary = json.loads(
        alone.succeed("cognitive simulate t-maze --agents 20 --trials 2 --out /root/maze --json", timeout=180)
    )
    assert summary["agents"] == 20, summary

with subtest("it asks for the token"):
    assert alone.succeed("stat -c '%a %U %G' /var/lib/ray/token").strip() == "640 ray ray"
    code = "curl -s -o /dev/null -w '%{http_code}' --noproxy '*' http://127.0.0.1:8265/api/version"
    assert alone.succeed(code).strip() == "401"
    assert alone.succeed(f'{code} -H "Authorization: Bearer $(cat /var/lib/ray/token)"').strip() == "200"
    alone.fail("env -u RAY_AUTH_TOKEN_PATH ray health-check --address 127.0.0.2:6379", timeout=60)

with subtest("probes of the node and of the head answer without a token"):
    PROBE = "curl --silent --max-time 5 --noproxy '*' http://127.0.0.1:"
    RAYLET, GCS_PROBE = f"{PROBE}52365/api/local_raylet_healthz", f"{PROBE}8265/api/gcs_healthz"
    assert [alone.succeed(probe) for probe in (RAYLET, GCS_PROBE)] == ["success"] * 2

with subtest("nobody else reaches it"):
    listening = alone.succeed("ss --no-header --listening --tcp --numeric | awk '{print $4}'").split()
    ports = sorted({int(address.rpartition(":")[2]) for address in listening})
    assert 6379 in ports, listening
    outsider.wait_until_succeeds("ping -c 1 192.168.42.50", timeout=60)
    tries = " ".join(
        f"(timeout 3 bash -c '</dev/tcp/192.168.42.50/{port}' 2>/dev/null && echo {port}) &" for port in ports
    )
    assert outsider.succeed(f"{tries} wait; true", timeout=60).split() == []

with subtest("the cloud's metadata address is out of its reach"):
    alone.succeed("ip address add 169.254.169.254/32 dev lo")
    alone.succeed("(python3 -m http.server --bind 169.254.169.254 80 > /dev/null 2>&1 &)")
    alone.succeed(
        "cat > /var/lib/ray/reach.py <<'END'\nimport socket\nsocket.create_connection(('169.254.169.254', 80), 3)\nEND"
    )
    alone.wait_until_succeeds("python3 /var/lib/ray/reach.py", timeout=20)
    # Whether a filter of addresses holds is the kernel's to say, and a container may not be given it.
    python3 = alone.succeed("command -v python3").strip()
    filtered = f"systemd-run --quiet --wait --property=IPAddressDeny=169.254.0.0/16 {python3} /var/lib/ray/reach.py"
    if alone.execute(filtered, timeout=30)[0] == 0:
        alone.log("NOT TESTED: systemd cannot filter addresses on this machine")
    else:
        python(
            alone,
            """
import subprocess, ray
ray.init(logging_level="ERROR")
@ray.remote
def reaches():
    return subprocess.run(["python3", "/var/lib/ray/reach.py"]).returncode == 0
assert ray.get(reaches.remote(), timeout=60) is False
""",
        )

with subtest("a GCS that hangs is found out by its probe, and nothing answers for a node that is stopped"):
    process = alone.succeed("pgrep --full '[/]gcs_server '").split()[0]
    alone.succeed(f"kill -STOP {process}")
    retry(lambda _last: alone.execute(GCS_PROBE, timeout=20)[1] != "success", 20)
    alone.succeed(f"kill -CONT {process}")
    alone.wait_until_succeeds(f"{GCS_PROBE} | grep --line-regexp success", timeout=180)
    alone.wait_for_unit("ray-head.service", timeout=180)
    alone.succeed("systemctl stop ray-head", timeout=90)
    for probe in (RAYLET, GCS_PROBE):
        alone.fail(probe)
