"""Stores and rendezvous, against PyTorch's where it is installed."""

import socket
import threading
from datetime import timedelta

import pytest

import livegrad
import livegrad.distributed as dist

KINDS = ["HashStore", "FileStore", "TCPStore", "PrefixStore"]


def made(d, kind, folder):
    if kind == "FileStore":
        return d.FileStore(str(folder / f"store-{d.__name__}"), 1)
    if kind == "TCPStore":
        return d.TCPStore("127.0.0.1", 0, 1, True)
    return d.PrefixStore("part", d.HashStore()) if kind == "PrefixStore" else d.HashStore()


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_does_what_pytorch_s_does(kind, tmp_path):
    torch = pytest.importorskip("torch")
    results = []
    for d in (dist, torch.distributed):
        s = made(d, kind, tmp_path)
        s.set_timeout(timedelta(milliseconds=200))
        found = [s.set("a", "1"), s.get("a"), s.add("n", 2), s.add("n", 3), s.get("n")]
        found += [s.compare_set("c", "", "x"), s.compare_set("c", "y", "z"), s.compare_set("c", "x", "z")]
        found += [s.compare_set("absent", "y", "z"), s.check(["a"]), s.check(["a", "b"]), s.wait(["a"])]
        found += [s.set("bytes", b"\x00\xff"), s.get("bytes"), s.append("t", "x"), s.append("t", "y"), s.get("t")]
        found += [
            s.multi_set(["p", "q"], ["1", "2"]),
            s.multi_get(["p", "q"]),
            s.delete_key("a"),
            s.check(["a"]),
            s.timeout,
        ]
        for ask in (lambda: s.get("b"), lambda: s.wait(["b"], timedelta(milliseconds=50))):
            with pytest.raises(RuntimeError, match="(?i)timeout"):
                ask()
        results.append(found)
    assert results[0] == results[1]


@pytest.mark.parametrize("kind", KINDS)
def test_who_waits_is_woken(kind, tmp_path):
    store = made(dist, kind, tmp_path)
    other = store.clone() if kind == "TCPStore" else store
    seen = []
    thread = threading.Thread(target=lambda: seen.append(other.get("later")))
    thread.start()
    store.set("later", "now")
    thread.join(10)
    assert seen == [b"now"]


def test_queues():
    for store in (dist.HashStore(), dist.TCPStore("127.0.0.1", 0, 1, True)):
        store.queue_push("q", "1")
        store.queue_push("q", "2")
        assert (store.queue_len("q"), store.queue_pop("q"), store.queue_pop("q"), store.queue_len("q")) == (
            2,
            b"1",
            b"2",
            0,
        )
        with pytest.raises(dist.QueueEmptyError):
            store.queue_pop("q", block=False)


def test_a_port_in_use():
    held = dist.TCPStore("127.0.0.1", 0, 1, True)
    with pytest.raises(dist.DistNetworkError, match=f"port: {held.port}, .*EADDRINUSE.*choose another port"):
        dist.TCPStore("127.0.0.1", held.port, 1, True)


def test_nobody_and_somebody_else_listen():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
        with pytest.raises(dist.DistNetworkError, match=f"timed out after 200ms while trying to connect to .*{port}"):
            dist.TCPStore("127.0.0.1", port, 1, False, timedelta(milliseconds=200))
    with socket.create_server(("127.0.0.1", 0)) as s:
        stop = threading.Event()

        def answer():
            s.settimeout(0.2)
            while not stop.is_set():
                try:
                    connection, _ = s.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(dist.DistNetworkError, match="no store of livegrad's"):
            dist.TCPStore("127.0.0.1", s.getsockname()[1], 1, False, timedelta(seconds=0.5))
        stop.set()
        thread.join()


def test_what_is_no_request_ends_its_connection_only():
    store = dist.TCPStore("127.0.0.1", 0, 1, True)
    for junk in (b"GET / HTTP/1.1\r\n\r\n", b"livegrad store 1\n" + b"\xff" * 64):
        with socket.create_connection(("127.0.0.1", store.port)) as s:
            s.sendall(junk)
            s.settimeout(5)
            while True:
                try:
                    if not s.recv(100):
                        break
                except ConnectionError:
                    break
    store.set("still", "there")
    assert store.get("still") == b"there"
    with pytest.raises(ValueError, match="no number"):
        store.add("still", 1)


def test_it_listens_where_it_was_told_only():
    store = dist.TCPStore("127.0.0.1", 0, 1, True)
    assert store._server.listener.getsockname()[0] == "127.0.0.1"
    with pytest.raises(dist.DistNetworkError, match="no address of this machine"):
        dist.TCPStore("192.0.2.1", 0, 1, True)


def test_ways_to_meet(monkeypatch, tmp_path):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for options, error, text in (
        ({}, ValueError, "environment variable RANK expected"),
        ({"rank": 0, "world_size": 2}, ValueError, "environment variable MASTER_ADDR expected"),
        ({"init_method": "tcp://127.0.0.1:0", "world_size": 1}, ValueError, "rank parameter missing"),
        ({"init_method": "tcp://127.0.0.1", "rank": 0, "world_size": 1}, ValueError, "port number missing"),
        (
            {"init_method": "smoke://there", "rank": 0, "world_size": 1},
            RuntimeError,
            "No rendezvous handler for smoke://",
        ),
        ({"store": dist.HashStore()}, AssertionError, "world_size must be positive"),
        ({"store": dist.HashStore(), "init_method": "env://"}, AssertionError, "both init_method and store"),
        ({"backend": "carrier pigeons", "rank": 0, "world_size": 1}, AssertionError, "Unknown backend"),
        ({"rank": 3, "world_size": 2, "store": dist.HashStore()}, ValueError, "rank 3 of a world of 2"),
    ):
        with pytest.raises(error, match=text):
            dist.init_process_group(**options)
        assert not dist.is_initialized()
    dist.init_process_group(init_method=f"file://{tmp_path}/meet?rank=0&world_size=1")
    dist.destroy_process_group()
    assert not (tmp_path / "meet").exists()
    dist.init_process_group("gloo", init_method="tcp://127.0.0.1:0?rank=0&world_size=1")
    assert dist.get_world_size() == 1
    dist.destroy_process_group()


def test_processes_that_do_not_come():
    with pytest.raises(dist.DistStoreError, match="address/1"):
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=2, timeout=timedelta(seconds=0.3))
    assert not dist.is_initialized() and livegrad.distributed.group.WORLD is None
