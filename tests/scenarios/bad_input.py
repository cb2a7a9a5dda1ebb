"""Bad input at the doors: a clear refusal, no trace and no file in it, no crash, and nothing is left of it."""

KNOCK = r'''
"""knock.py requests|oversized|garbage|hold ADDRESS PORT [TOKEN FILE]: one line of JSON for each answer."""
import json, os, random, re, socket, sys, time

what, address, port, *token_file = sys.argv[1:]
authorization = [b"Authorization: Bearer " + open(token_file[0], "rb").read().strip()] if token_file else []
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LOGS = "/api/v0/logs/file?node_ip=" + address + "&filename="
UP = "../"
PATHS = [
    "/../../etc/passwd", "//etc/passwd", "/;/../etc/passwd", "http://10.42.0.1/etc/passwd", "http://[::1/",
    *(door + up * depth + file for door in ("/logs/", "/static/") for file in ("etc/passwd", "token", "logs/x")
      for up in ("../", "%2e%2e/", "..%2f", "%252e%252e/", "..\\") for depth in (1, 3, 12)),
    *(LOGS + file for file in (
        UP * 12 + "etc/passwd", "/etc/passwd", UP * 3 + "token", "..%252f..%252f..%252ftoken", "%00", "a" * 5000)),
    *(f"/api/v0/logs?node_ip={address}&glob={glob}" for glob in (UP * 3 + "*", "/etc/*", "**%00")),
    "/api/packages/file/..%2f..%2fetc%2fpasswd", "/api/packages/gcs/..%2f..%2fetc%2fpasswd", "/api/packages/x/x",
    "/api/jobs/..%2f..%2f..%2fetc%2fpasswd/logs", "/api/jobs/%00", "/nodes/%00", "/nodes?view=x", "/events?job_id=x",
    "/api/v0/actors?limit=x", "/api/v0/actors?limit=-1", "/api/v0/actors?timeout=x", "/api/v0/tasks?filter_keys=a",
    "/api/v0/tasks/timeline?job_id=x", "/worker/traceback?pid=x", "/logical/actors/x", "/test/dump?key=x",
    "/static/%00", "/static/" + "a" * 300, "/static/" + "a/" * 2000, "/static/%ed%a0%80", "/static/\0", "/\xff\xfe",
    "/" + "a" * 65536, "/" + "%41" * 2000, "/api/version?" + "%" * 100, "/?" + "a=b&" * 1500,
]
BODIES = [
    b"", b'{"entrypoint": ', b"[1, 2]", b"7", b"null", b'"x"', b"\xff\xfe\0", b'{"entrypoint": NaN}', b'{"unknown": 1}',
    b'{"entrypoint": 7, "runtime_env": []}', b"[" * 100_000, b'{"a":' * 50_000, b'{"entrypoint": 1' + b"0" * 5000,
]
TYPES = ["text/plain", "multipart/form-data; boundary=x", "application/json; charset=nonsense", "nonsense", "\xff"]
WRITES = [
    ("POST", "/api/jobs/"), ("PUT", "/api/serve/applications/"), ("POST", "/report_events"),
    ("POST", "/api/task_events/query"), ("POST", "/api/authenticate"), ("POST", "/api/job_agent/jobs/"),
    ("POST", "/get_or_create_runtime_env"), ("POST", "/delete_runtime_env_if_possible"),
]
READ_WHOLE = [WRITES[number] for number in (0, 2, 5, 6)]
METHODS = ["DELETE", "PATCH", "TRACE", "CONNECT", "OPTIONS", "BREW", "get", "PRI", "A" * 9000]
HEADERS = {
    "flood": [b"X-%d: y" % number for number in range(5000)], "long": [b"X: " + b"y" * 100_000],
    "no colon": [b"nonsense"], "nul": [b"X: \0"], "gzip": [b"Content-Encoding: gzip"], "expect": [b"Expect: x"],
    "both lengths": [b"Transfer-Encoding: chunked", b"Content-Length: 5"], "negative length": [b"Content-Length: -1"],
    "huge length": [b"Content-Length: " + b"9" * 30], "transfer": [b"Transfer-Encoding: x"],
    "range": [b"Range: bytes=5-1"], "upgrade": [b"Upgrade: websocket", b"Connection: Upgrade"],
    "cookies": [b"Cookie: " + b"a=b; " * 1500],
}
WRONG_TOKENS = {
    "wrong": [b"Authorization: Bearer " + b"0" * 64], "long": [b"Authorization: Bearer " + b"a" * 8000],
    "basic": [b"Authorization: Basic eDp4"], "not UTF-8": [b"Authorization: Bearer \xff\xfe"],
    "other header not UTF-8": [b"X-Ray-Authorization: Bearer \xff"],
    "cookie not UTF-8": [b"Cookie: ray-authentication-token=\xff"],
}


def connect():
    return socket.create_connection((address, int(port)), timeout=20)


def answer(connection):
    """What comes back until the connection is closed, at most as much as a page of Ray has."""
    got = b""
    try:
        while len(got) < 5_000_000 and (part := connection.recv(65536)):
            got += part
    except OSError:
        pass
    return got


def tell(name, got):
    head, _, body = got.partition(b"\r\n\r\n")
    status = re.match(rb"HTTP/1\.[01] (\d{3}) ", head)
    print(json.dumps({"request": name, "status": int(status[1]) if status else None, "length": len(body),
                      "trace": b"Traceback" in body or b'File "' in body, "passwd": b"root:x:0:" in body,
                      "token": bool(SECRET) and SECRET in body, "body": body[:200].decode("latin-1")}))


def request(name, method, path, body=b"", more=(), kind="application/json"):
    lines = [f"{method} {path} HTTP/1.1".encode("latin-1"), b"Host: x", b"Connection: close", *authorization, *more]
    if body or method in ("POST", "PUT"):
        lines += [b"Content-Type: " + kind.encode("latin-1"), b"Content-Length: %d" % len(body)]
    with connect() as connection:
        try:
            connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        except OSError:
            pass  # Refused before all of it was sent: the answer is there.
        tell(name, answer(connection))


def requests():
    for path in PATHS:
        request(f"GET {path[:60]}", "GET", path)
    for method, path in WRITES:
        for body in BODIES:
            request(f"{method} {path} {body[:20]!r}", method, path, body)
        for kind in TYPES:
            request(f"{method} {path} as {kind!r}", method, path, BODIES[1], kind=kind)
    for method in METHODS:
        for path in ("/", "/api/jobs/", "*"):
            request(f"{method[:20]} {path}", method, path)
    for path in ("/", "/api/jobs/", "/static/js"):
        for name, more in HEADERS.items():
            request(f"GET {path} with header {name}", "GET", path, more=more)
        for name, more in () if token_file else WRONG_TOKENS.items():
            request(f"GET {path} with token {name}", "GET", path, more=more)


def oversized():
    """101 MB, one more than the dashboard takes: with its length ahead, and in chunks without an end."""
    piece = b"a" * 2**20
    for method, path in READ_WHOLE:
        for chunked in (False, True):
            lines = [f"{method} {path} HTTP/1.1".encode(), b"Host: x", b"Connection: close", *authorization]
            lines.append(b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (101 * 2**20))
            with connect() as connection:
                try:
                    connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
                    for _ in range(101):
                        connection.sendall(b"%x\r\n" % len(piece) + piece + b"\r\n" if chunked else piece)
                    if chunked:
                        connection.sendall(b"0\r\n\r\n")
                except OSError:
                    pass
                tell(f"{method} {path} oversized {'chunked' if chunked else 'with length'}", answer(connection))


def garbage():
    """Nonsense for a port that speaks gRPC; the connection is left in the middle of a frame."""
    noise = random.Random(port).randbytes
    frame = lambda kind, flags, stream, payload: (
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload)
    settings = PREFACE + frame(4, 0, 0, b"")
    every = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", noise(1000), noise(100_000), b"\x16\x03\x01" + noise(200), PREFACE[:10],
        PREFACE + noise(1000), settings + b"\xff" * 9, settings + frame(1, 4, 1, noise(500)),
        settings + frame(1, 0, 1, b"\x82")[:-1], settings + frame(9, 4, 1, b"x"), settings + frame(0, 0, 1, b"x" * 99),
        settings + frame(8, 0, 0, b"\0\0\0\0"), settings + frame(6, 0, 0, b"x"), settings + frame(4, 0, 0, b"x" * 5),
        settings + frame(1, 0, 1, b"\x82") + frame(9, 0, 1, noise(16000)) * 20,
        settings + b"".join(frame(3, 0, stream, b"\0\0\0\x08") for stream in range(1, 2001, 2)),
    ]
    for data in every:
        with connect() as connection:
            try:
                connection.sendall(data)
                connection.settimeout(0.3)
            except OSError:
                continue
            answer(connection)


def hold():
    """1,000 connections that do not come to the point, for as long as this lives."""
    starts = [b"", b"POST /api/jobs/ HT", b"GET / HTTP/1.1\r\nHost: x\r\nX: y", PREFACE + b"\0\0\x10\x01\4"]
    held = []
    for number in range(1000):
        held.append(connect())
        held[-1].sendall(starts[number % len(starts)])
    open(f"/run/held-{port}", "w").close()
    time.sleep(600)


SECRET = open(token_file[0], "rb").read().strip() if token_file else b""
{"requests": requests, "oversized": oversized, "garbage": garbage, "hold": hold}[what]()
'''

# The processes of a node that stay, as {pid: [command line, kB, open files]}: workers come and go.
CENSUS = r"""
import json, os, re, sys
found = {}
for pid in open(f"/sys/fs/cgroup/system.slice/{sys.argv[1]}.service/cgroup.procs").read().split():
    try:
        said = open(f"/proc/{pid}/cmdline", "rb").read().replace(b"\0", b" ").decode()
        if re.search(r"gcs_server|raylet/raylet|dashboard|monitor|client\.server|ray::\w+Agent", said):
            kilobytes = re.search(r"^Pss: +(\d+)", open(f"/proc/{pid}/smaps_rollup").read(), re.MULTILINE)[1]
            found[pid] = [said[:120], int(kilobytes), len(os.listdir(f"/proc/{pid}/fd"))]
    except (FileNotFoundError, ProcessLookupError):
        pass
print(json.dumps(found))
"""

UNITS = ((head, "ray-head"), (worker, "ray-worker"))
NODE = {head: "10.42.0.1", worker: "10.42.0.2"}
TOKEN_FILE = {head: "/var/lib/ray/token", worker: TOKEN}
# Doors that answer HTTP: where they are knocked at from, whose they are. The firewall keeps the agents for the node.
HTTP_DOORS = (
    (worker, head, 8265),
    *((machine, machine, port) for machine in (head, worker) for port in (52365, 52367)),
)
GRPC_DOORS = (*((worker, head, port) for port in (6379, 6380, 6381, 10001, 52366)), (head, worker, 6380))
# What Ray 2.60 answers with 500 instead of a 4xx, to anyone; there is no more in it than that.
IN_TROUBLE = ("/static/%00", "/static/aaa", "not UTF-8")
PUBLIC = ("GET / ", "GET /?", "HEAD / ")


def knock(what, machine, of, port, token=False):
    """What a door answers to everything of a kind."""
    said = machine.succeed(
        f"python3 /root/knock.py {what} {NODE[of]} {port} {TOKEN_FILE[machine] if token else ''}", timeout=120
    )
    return [json.loads(line) for line in said.splitlines()]


def census():
    """The processes of all nodes that stay."""
    return {unit: json.loads(machine.succeed(f"python3 -c {shlex.quote(CENSUS)} {unit}")) for machine, unit in UNITS}


def cluster_works():
    """A task runs on the other machine, a job can be submitted, the health services answer."""
    python(
        head,
        """
import ray
ray.init(logging_level="ERROR")
@ray.remote(num_cpus=0, resources={"node:10.42.0.2": 0.001})
def six_times_seven():
    return 6 * 7
assert ray.get(six_times_seven.remote(), timeout=60) == 42
""",
    )
    said = head.succeed("ray job submit -- python3 -c 'print(6 * 7)'", timeout=120)
    assert "42" in said, said
    for port in (6379, 6380):
        worker.succeed(
            "printf '\\0\\0\\0\\0\\0' | curl -sSf -m 10 --http2-prior-knowledge -X POST -H 'te: trailers' "
            "-H 'content-type: application/grpc' --data-binary @- -o /dev/null "
            f"http://10.42.0.1:{port}/grpc.health.v1.Health/Check"
        )
    worker.succeed("curl -sSf -m 10 --noproxy '*' http://10.42.0.1:8265/api/gcs_healthz")
    for machine, address in NODE.items():
        machine.succeed(f"curl -sSf -m 10 --noproxy '*' http://{address}:52365/api/healthz")


bring_up(head, worker)
for machine, _unit in UNITS:
    machine.succeed(f"cat > /root/knock.py <<'END'\n{KNOCK}END")
cluster_works()
# What Serve's API needs is loaded by whoever asks for it first, and stays.
head.succeed(
    'curl -sSf -m 60 -o /dev/null -H "Authorization: Bearer $(cat /var/lib/ray/token)" '
    "http://10.42.0.1:8265/api/serve/applications/"
)
before = census()
assert any("gcs_server" in said for said, _, _ in before["ray-head"].values()), before
pids = {unit: property_of(machine, unit, "MainPID") for machine, unit in UNITS}

with subtest("without the token: a refusal and nothing else"):
    for machine, of, port in HTTP_DOORS:
        for got in knock("requests", machine, of, port) + knock("oversized", machine, of, port):
            place = f"{of.name}:{port} {got}"
            assert got["status"] is not None and not got["trace"] and not got["passwd"], place
            if got["status"] < 400:
                assert port == 8265 and got["request"].startswith(PUBLIC), place
            elif got["status"] >= 500:
                assert any(part in got["request"] for part in IN_TROUBLE) and got["length"] < 200, place

with subtest("with the token: an answer, and no file but the logs"):
    for machine, of, port in HTTP_DOORS:
        for got in knock("requests", machine, of, port, token=True):
            assert got["status"] is not None and not got["passwd"] and not got["token"], f"{of.name}:{port} {got}"
    for got in knock("oversized", worker, head, 8265, token=True):
        # The other two are doors of the agents.
        here = got["request"].startswith(("POST /api/jobs/", "POST /report_events"))
        assert got["status"] == (413 if here else 404), got

with subtest("garbage where gRPC is spoken"):
    for machine, of, port in GRPC_DOORS:
        knock("garbage", machine, of, port)

with subtest("1,000 connections to each door that do not come to the point"):
    HELD = (*((worker, port) for port in (8265, 6379, 6380, 10001)), (head, 52365))
    for machine, port in HELD:
        machine.succeed(
            f"systemd-run --quiet --unit=hold-{port} --property=LimitNOFILE=4096 "
            f"$(command -v python3) /root/knock.py hold 10.42.0.1 {port}"
        )
    for machine, port in HELD:
        machine.wait_for_file(f"/run/held-{port}", timeout=60)
    cluster_works()
    for machine, port in HELD:
        machine.succeed(f"systemctl is-active hold-{port}", f"systemctl stop hold-{port}")

with subtest("nothing is left of it"):
    cluster_works()

    grown = {}

    def back_to_before(_last_attempt):
        after = census()
        for unit, there in before.items():
            gone = [said for pid, (said, _, _) in there.items() if pid not in after[unit]]
            assert not gone, f"{unit} lost {gone}"
            kilobytes, files = (
                sum(each[i] for each in after[unit].values()) - sum(each[i] for each in there.values()) for i in (1, 2)
            )
            grown[unit] = {"MB": kilobytes // 1024, "open files": files}
        return all(each["MB"] < 100 and each["open files"] < 100 for each in grown.values())

    try:
        retry(back_to_before, 30)
    finally:
        head.log(f"more than before: {grown}")
    for machine, unit in UNITS:
        assert property_of(machine, unit, "MainPID") == pids[unit]
        assert property_of(machine, unit, "NRestarts") == "0"
