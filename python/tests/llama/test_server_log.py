"""What is kept of a server's log, and what the journal gets."""

from __future__ import annotations

import socket
from pathlib import Path

from cognitive_actors.llama.server_log import KEPT, LINE, ServerLog


def written(text: bytes, size: int = 7) -> ServerLog:
    """A log of this text, that came in pieces."""
    log = ServerLog(Path("/nowhere"))
    for start in range(0, len(text), size):
        log.data_received(text[start : start + size])
    log.connection_lost(None)
    return log


def test_the_last_lines_that_tell_of_trouble_are_shown() -> None:
    log = written(b"0.01 I srv: loading\n0.02 E srv: no such file\n0.03 W cmn: hm\n\trest of it\n\nAborted")
    assert log.last == "\n  0.02 E srv: no such file\n  Aborted"
    assert written(b"0.01 I srv: loading\n").last == "\n  0.01 I srv: loading"
    assert written(b"").last == " it wrote nothing"


def test_whose_greeting_was_not_accepted_is_found() -> None:
    log = written(b"0.1 I rpc: 10.0.0.1:1\nx.cpp:653: RPC handshake failed for 10.0.0.2:1\n0.2 E 10.0.0.3:1\n")
    assert log.mismatched(["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1", "10.0.0.2:11"]) == ("10.0.0.2:1",)


def test_the_largest_compute_buffer_of_a_device_counts() -> None:
    log = written(
        b"0.2 I sched_reserve: RPC0[127.0.0.1:50052] compute buffer size =     0.75 MiB\n"
        b"0.2 I sched_reserve:      CUDA0 compute buffer size =   258.50 MiB\n"
        b"0.2 I sched_reserve:        CPU compute buffer size =   999.00 MiB\n"
        b"0.2 I x: compute buffer size = nothing\n"
    )
    assert log.compute == int(258.5 * (1 << 20))
    assert written(b"").compute == 0


def test_whatever_is_written_little_is_kept() -> None:
    log = written(b"x" * 1_000_000 + b"\n" + b"line\n" * 5000 + b"\xff\xfe\n", 65536)
    assert len(log._lines) == KEPT
    assert max(map(len, log._lines)) <= LINE
    assert len(written(b"y" * 1_000_000, 65536).last) < LINE + 10


def test_the_journal_gets_the_lines_and_none_of_each_request(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as journal:
        journal.bind(str(tmp_path / "stdout"))
        journal.listen()
        log = ServerLog(tmp_path / "stdout")
        connection, _ = journal.accept()
        with connection:
            log.data_received(b"0.1 I srv: loading\n")
            log.loaded = True
            log.data_received(b"0.2 I slot: a request\n0.3 E srv: trouble\n")
            got = connection.recv(1000)
            assert got == b"llama-server\n\n6\n0\n0\n0\n0\n0.1 I srv: loading\n0.3 E srv: trouble\n"
            # Nobody reads any more, and nobody waits for that.
            log.data_received(b"0.4 E srv: trouble\n" * 100_000)
        log.data_received(b"0.5 E srv: the journal has ended\n")
        assert "the journal has ended" in log.last
