"""The password of Redis reaches Ray's GCS, and no command line and no environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from ray_with_redis import read_password
from test_ray_node import free_ports

PASSWORD = "correct horse=battery#staple"
SOURCE = Path(__file__).parent
# What `ray start` does first: it asks Redis for the session before this one, and starts the GCS.
_START = """
import sys
from pathlib import Path
from ray_with_redis import hand_over, read_password
directory, port = Path(sys.argv[1]), int(sys.argv[2])
hand_over(read_password(Path(sys.argv[3])))
from ray._private import node, services
config = services.serialize_config({})
assert node.get_session_key_from_storage("127.0.0.1", port, "", "", False, config, b"session") is None
started = services.start_gcs_server(
    f"127.0.0.1:{port}", log_dir=str(directory), stdout_filepath=f"{directory}/out", stderr_filepath=f"{directory}/err",
    session_name="test", fate_share=False, gcs_server_port=0, metrics_agent_port=0, node_ip_address="127.0.0.1",
    session_dir=str(directory), node_id="0" * 56, config={},
)
print("gcs", started.process.pid, flush=True)
started.process.wait()
"""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[int]:
    """The port of a Redis with the password."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    (port,) = free_ports(1)
    settings = f'bind 127.0.0.1\nport {port}\nrequirepass "{PASSWORD}"\nsave ""\ndir {tmp_path}\n'
    server = subprocess.Popen([program, "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert server.stdin
    with server.stdin as stdin:
        stdin.write(settings)
    yield port
    server.terminate()
    server.wait(30)


def seen_by_everyone(secret: bytes) -> list[str]:
    """The processes whose arguments or environment have the secret in them."""
    found = []
    for place in ("cmdline", "environ"):
        for path in Path("/proc").glob(f"[0-9]*/{place}"):
            try:
                if secret in path.read_bytes():
                    found.append(str(path))
            except OSError:
                continue
    return found


def start(directory: Path, port: int, password_file: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "RAY_AUTH_MODE": "disabled"}
    arguments = [sys.executable, "-c", _START, str(directory), str(port), password_file]
    return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)


def test_the_gcs_has_it_and_nobody_sees_it(tmp_path: Path, redis: int) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    started = start(tmp_path, redis, str(file))
    try:
        assert started.stdout
        lines = iter(started.stdout)
        gcs = next(int(line.split()[1]) for line in lines if line.startswith("gcs"))
        # Once it has written what it is, it has been let in.
        while not Redis(port=redis, password=PASSWORD).keys("*KV"):
            assert started.poll() is None, (tmp_path / "err").read_text()
            time.sleep(0.1)
        assert b"--redis_port" in Path(f"/proc/{gcs}/cmdline").read_bytes()
        assert seen_by_everyone(PASSWORD.encode()) == []
        written = [path for path in tmp_path.rglob("*") if path.is_file() and path != file]
        assert written
        assert not [path for path in written if PASSWORD.encode() in path.read_bytes()]
    finally:
        os.killpg(started.pid, 9)
        started.wait(30)


@pytest.mark.parametrize("text", ["", "\n", "two\nlines\n"])
def test_a_password_is_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "password"
    file.write_text(text)
    with pytest.raises(ValueError, match="must be one line"):
        read_password(file)


def test_without_a_file_it_is_ray() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RAYNIXOS_REDIS_PASSWORD_FILE"}
    command = [sys.executable, "-P", str(SOURCE / "ray_with_redis.py"), "--version"]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True).stdout
    assert said.startswith("ray, version "), said
