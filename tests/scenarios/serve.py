"""services.ray.serve: declared applications are served, changed without dropped requests, and back after a new head."""

alone.start()
alone.wait_for_unit("ray-head.service", timeout=180)
SERVED = "http://127.0.0.1:8000/cognitive"
STIMULUS = '{"agent": "a", "observation": {"weather": "rain"}}'
AUTHORIZED = '-H "Authorization: Bearer $(cat /var/lib/ray/token)"'
# Asks again and again until the file is there, and notes every answer.
ASK = f"""
while ! test -e /tmp/enough; do
  curl --silent --output /dev/null --write-out '%{{http_code}}\\n' --max-time 10 {AUTHORIZED} \\
    -H 'Content-Type: application/json' -d '{STIMULUS}' {SERVED}/execute >> /tmp/answers
done
"""


def asked(path, *options):
    """The status and the body of an answer."""
    said = alone.succeed(
        f"curl --silent --max-time 20 --write-out '\\n%{{http_code}}' {' '.join(options)} {SERVED}{path}"
    )
    body, _, status = said.rpartition("\n")
    return int(status), json.loads(body)


with subtest("started means served"):
    switch(alone, "serve")
    alone.wait_for_unit("ray-serve.service", timeout=300)
    # The applications run; their agents may be starting still.
    retry(lambda _last: asked("/ready") == (200, {"ready": True, "reasons": []}), 300)
    assert asked("/status")[1]["authenticated"], "a service of a cluster asks for a token"

with subtest("what changes something asks for the cluster's token, and the rest does not"):
    body = f"-H 'Content-Type: application/json' -d {shlex.quote(STIMULUS)}"
    assert asked("/execute", body)[0] == 401
    assert asked("/execute", body, AUTHORIZED)[0] == 200
    assert asked("/advisory", body)[0] == 200

with subtest("from elsewhere it is not reached"):
    outsider.start()
    outsider.fail("curl --silent --max-time 5 http://192.168.42.50:8000/cognitive/health")

with subtest("a switch to other applications is a reload that drops no request"):
    process = property_of(alone, "ray-serve", "MainPID")
    alone.succeed("rm -f /tmp/enough /tmp/answers")
    start = f"systemd-run --quiet --unit=asking --setenv=PATH=$PATH bash -c {shlex.quote(ASK)}"
    alone.succeed(start)
    retry(lambda _last: int(alone.succeed("cat /tmp/answers 2> /dev/null | wc -l")) > 20, 60)
    said = switch(alone, "serve-other")
    assert "reloading the following units: ray-serve.service" in said, said
    alone.wait_until_succeeds("systemctl show --property=StatusText ray-serve | grep 'cognitive served'", timeout=120)
    before = int(alone.succeed("wc -l < /tmp/answers"))
    retry(lambda _last: int(alone.succeed("wc -l < /tmp/answers")) > before + 20, 60)
    alone.succeed("touch /tmp/enough")
    retry(lambda _last: unit_state(alone, "asking") != "running", 30)
    assert set(alone.succeed("cat /tmp/answers").split()) == {"200"}
    assert property_of(alone, "ray-serve", "MainPID") == process

with subtest("a head that starts anew serves again, and the unit goes on"):
    alone.succeed("systemctl restart ray-head", timeout=180)
    retry(lambda _last: alone.execute(f"curl --silent --fail --max-time 5 {SERVED}/ready")[0] == 0, 180)
    assert property_of(alone, "ray-serve", "MainPID") == process

with subtest("stopping takes all down"):
    alone.succeed("systemctl stop ray-serve", timeout=120)
    retry(lambda _last: alone.execute(f"curl --silent --fail --max-time 5 {SERVED}/health")[0] != 0, 60)

with subtest("an application that does not come up is a failed unit that says why"):
    alone.execute("/run/booted-system/specialisation/serve-broken/bin/switch-to-configuration test 2>&1", timeout=300)
    retry(lambda _last: property_of(alone, "ray-serve", "ActiveState") == "failed", 180)
    alone.succeed(in_journal("ray-serve", "application 'broken' does not come up"))
    alone.succeed(in_journal("ray-serve", "/nowhere.yaml"))
