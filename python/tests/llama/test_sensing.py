"""What a machine says of itself: its memory, its RPC servers, its builds, its GPUs and its model files."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import psutil
import pytest
from llama_programs import llama_server
from node_reports import listening, port_of
from tiny_gguf import LAYERS, tiny_tensors, write_gguf

from cognitive_actors.llama.builds import build_of
from cognitive_actors.llama.declared import RpcServer, model_files, rpc_servers
from cognitive_actors.llama.gpus import look_at_gpus
from cognitive_actors.llama.model_files import ModelFiles
from cognitive_actors.llama.notices import Notices
from cognitive_actors.llama.sensing import Machine
from cognitive_actors.placement import read_sizes


def machine(said: list[str], *servers: RpcServer, models: ModelFiles | None = None) -> Machine:
    return Machine("a", "11669", "11670", servers, models or ModelFiles({}), Notices(said.append))


def program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_ram_processors_and_a_server_on_the_cpu() -> None:
    with listening() as server:
        declared = RpcServer("CPU", "127.0.0.1", port_of(server))
        report = machine([], declared).look("ray-a", "a.example")
    assert (report.name, report.node, report.address, report.build) == ("a", "ray-a", "a.example", "11669")
    assert report.total == psutil.virtual_memory().total and 0 < report.available <= report.total
    assert 0 <= report.busy <= 1
    (cpu,) = report.devices
    assert (cpu.name, cpu.endpoint, cpu.build, cpu.gpu) == ("CPU", declared.endpoint, "11670", None)
    assert (cpu.total, cpu.free) == (report.total, report.available)


def test_a_server_that_does_not_listen_is_left_out_and_said_once() -> None:
    said: list[str] = []
    with listening() as server:
        port = port_of(server)
        looking = machine(said, RpcServer("CPU", "127.0.0.1", port))
        assert len(looking.look("n", "a").devices) == 1 and not said
    for _ in range(2):
        assert looking.look("n", "a").devices == ()
    assert said == [f"CPU is not reported: no RPC server listens at 127.0.0.1:{port}"]
    with socket.create_server(("127.0.0.1", port)):
        for _ in range(2):
            assert len(looking.look("n", "a").devices) == 1
    assert said[1:] == ["device CPU is reported again"]


def test_looking_says_nothing_to_a_server() -> None:
    with listening() as server:
        machine([], RpcServer("CPU", "127.0.0.1", port_of(server))).look("n", "a")
        server.settimeout(10)
        connection, _ = server.accept()
        with connection:
            connection.settimeout(10)
            assert connection.recv(1) == b""


def test_gpus_as_nvml_knows_them() -> None:
    gpus = look_at_gpus()
    if not gpus.found:
        pytest.skip(f"no GPU that answers: {gpus.absent or gpus.silent}")
    for i, (name, gpu) in enumerate(gpus.found.items()):
        assert name == f"CUDA{i}" and gpu.name and 0 < gpu.free <= gpu.total


def test_a_gpu_of_which_nothing_is_known_is_left_out_aloud() -> None:
    said: list[str] = []
    with listening() as server:
        report = machine(said, RpcServer("CUDA99", "127.0.0.1", port_of(server))).look("n", "a")
    assert report.devices == () and len(said) == 1
    assert said[0].startswith("CUDA99 is not reported: nothing is known of its memory: NVIDIA's management library")


def test_model_files_by_name_and_from_folders(tmp_path: Path) -> None:
    folder, other = tmp_path / "models", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    tiny = write_gguf(folder / "tiny.gguf", tiny_tensors())
    (folder / "broken.gguf").write_bytes(b"GGUF")
    (folder / "notes.txt").write_text("no model")
    (folder / "folder.gguf").mkdir()
    write_gguf(other / "tiny.gguf", tiny_tensors(2), {"block_count": 2})
    found = ModelFiles({"chat": tiny}, [folder, other]).look()
    assert [model.name for model in found] == ["broken", "chat", "tiny"]
    broken, chat, plain = found
    assert broken.sizes is None and broken.unfit is not None and str(folder / "broken.gguf") in broken.unfit
    assert chat.sizes == plain.sizes == read_sizes(tiny) and chat.unfit is None
    assert plain.sizes is not None and len(plain.sizes.blocks) == LAYERS
    assert chat.path == plain.path == str(tiny) and not chat.shared


def test_a_file_is_read_again_where_it_is_another_one(tmp_path: Path) -> None:
    path, looked = tmp_path / "tiny.gguf", ModelFiles({}, [tmp_path])
    write_gguf(path, tiny_tensors())
    first = looked.look()
    stamp = path.stat().st_mtime_ns
    content = path.read_bytes()
    # What is in it now nobody looks at: neither its time nor its size have changed.
    path.write_bytes(b"x" * len(content))
    os.utime(path, ns=(stamp, stamp))
    assert looked.look() == first
    write_gguf(path, tiny_tensors(2), {"block_count": 2})
    (second,) = looked.look()
    assert second.sizes is not None and len(second.sizes.blocks) == 2
    path.unlink()
    assert looked.look() == ()
    path.write_bytes(content)
    os.utime(path, ns=(stamp, stamp))
    assert looked.look() == first


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    loop = tmp_path / "loop.gguf"
    loop.symlink_to(loop)
    (model,) = ModelFiles({"loop": loop}).look()
    why = f"{loop}: Too many levels of symbolic links; let this program's user read it"
    assert (model.sizes, model.unfit) == (None, why)


def test_the_build_of_a_real_llama_server() -> None:
    build = build_of(llama_server(), 120.0)
    assert build.isdecimal() and len(build) >= 4


@pytest.mark.parametrize(
    "said", ["version: 11669 (1a2b3c4)", "noise\nversion: 0.7.0 (build 11669, commit Debian)\nbuilt with GNU"]
)
def test_builds_as_programs_say_them(tmp_path: Path, said: str) -> None:
    assert build_of(program(tmp_path / "llama-server", f"cat >&2 <<'END'\n{said}\nEND")) == "11669"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo no such option; exit 3", "--version failed with 3: 'no such option'; give --llama-server"),
        ("echo hello", "--version says no build: 'hello'; give"),
        ("exit 0", "--version says no build: nothing; give"),
        ("sleep 600 & wait", "--version did not end within 0.5 s; give"),
    ],
)
def test_programs_that_say_no_build(tmp_path: Path, script: str, words: str) -> None:
    path = program(tmp_path / "llama-server", script)
    with pytest.raises(ValueError) as raised:
        build_of(path, 0.5 if "sleep" in script else 60.0)
    assert f"{path} {words}" in str(raised.value)


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be started: No such file or directory; give --llama-server"):
        build_of(str(tmp_path / "none"))


def test_rpc_servers_as_they_are_declared() -> None:
    assert rpc_servers(["CUDA0=gpu-1.example:50052", "CPU=10.0.0.1:50053"]) == (
        RpcServer("CUDA0", "gpu-1.example", 50052),
        RpcServer("CPU", "10.0.0.1", 50053),
    )


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["10.0.0.1:50052"], "write DEVICE=ADDRESS:PORT"),
        (["CUDA0=10.0.0.1"], "'10.0.0.1' is no ADDRESS:PORT"),
        (["CUDA0=10.0.0.1:0"], "a port between 1 and 65535"),
        (["CUDA0=10.0.0.1:65536"], "a port between 1 and 65535"),
        (["CUDA0=a:1,b:2"], "is no ADDRESS:PORT"),
        (["CUDA0=[::1]:50052"], "a host name or an IPv4 address"),
        (["CUDA0=0.0.0.0:50052"], "the address under which other nodes reach this machine"),
        (["Vulkan0=10.0.0.1:50052"], "no memory is known of a device 'Vulkan0'; write CPU, CUDA0"),
        (["CPU=10.0.0.1:50052", "CPU=10.0.0.1:50053"], "--rpc names CPU twice"),
        (["CPU=10.0.0.1:50052", "CUDA0=10.0.0.1:50052"], "has 10.0.0.1:50052 for CPU and for CUDA0"),
    ],
)
def test_rpc_servers_that_are_wrong(texts: list[str], words: str) -> None:
    with pytest.raises(ValueError) as raised:
        rpc_servers(texts)
    assert words in str(raised.value) and "--rpc" in str(raised.value)


def test_model_files_as_they_are_declared(tmp_path: Path) -> None:
    path = tmp_path / "a=b.gguf"
    path.touch()
    assert model_files([f"llama3:8b={path}"]) == {"llama3:8b": path}
    for texts, words in [
        ([str(tmp_path / "model")], "write NAME=PATH"),
        ([f"={path}"], "write NAME=PATH"),
        ([f"a={path}", f"a={path}"], "--model names 'a' twice"),
        ([f"a={tmp_path}/none.gguf"], f"--model a: there is no file {tmp_path}/none.gguf"),
    ]:
        with pytest.raises(ValueError) as raised:
            model_files(texts)
        assert words in str(raised.value)
