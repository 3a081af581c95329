"""The request parser alone. Needs nothing but the standard library and Hypothesis."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serinus_runtime.base.errors import ProtocolError
from serinus_runtime.http.heads import Head, Heads
from serinus_runtime.http.http1 import Parser

HEAD = b"POST /p HTTP/1.1\r\nHost: x\r\n"


def outcomes(pieces: list[bytes], most_body: int = 64, most_head: int = 512) -> list[object]:
    """What a connection would do: each request as a tuple, then the refusal if there is one."""
    parser = Parser(most_body, most_head)
    seen: list[object] = []
    for piece in pieces:
        parser.feed(piece)
        try:
            while (request := parser.next_request()) is not None:
                refusal = request.refusal.status if request.refusal else None
                seen.append(
                    (request.method, request.target, request.headers, request.body, request.keep_alive, refusal)
                )
        except ProtocolError as error:
            seen.append((error.status, str(error)))
            return seen
    return seen


def only(data: bytes) -> object:
    (outcome,) = outcomes([data])
    return outcome


STREAMS = [
    HEAD + b"Content-Length: 5\r\n\r\nhello" + b"GET /q HTTP/1.1\r\nHost: y\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    b"\r\n\r\n" + HEAD + b"Content-Length: 70\r\n\r\n" + b"z" * 70 + b"GET /after HTTP/1.1\r\nHost: y\r\n\r\n",
    HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n50\r\n"
    + b"z" * 80
    + b"\r\n0\r\n\r\nGET /after HTTP/1.1\r\nHost: y\r\n\r\n",
    HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    HEAD + b"X: y\nZ: 1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nBig: " + b"a" * 600 + b"\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STREAMS), st.data())
def test_how_the_bytes_are_cut_changes_no_answer(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert outcomes(pieces) == outcomes([stream])
    assert outcomes([stream[i : i + 1] for i in range(len(stream))]) == outcomes([stream])


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.integers(1, 50))
def test_arbitrary_bytes_are_answered_or_awaited_whatever_the_cuts(noise: bytes, size: int) -> None:
    for stream in (noise, HEAD + noise, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + noise):
        assert outcomes([stream[i : i + size] for i in range(0, len(stream), size)]) == outcomes([stream])


def test_pipelined_requests_come_one_after_the_other() -> None:
    first, second = outcomes([STREAMS[0]])
    assert isinstance(first, tuple)
    assert isinstance(second, tuple)
    assert (first[1], first[3]) == (b"/p", b"hello")
    assert (second[0], second[1]) == (b"GET", b"/q")


def test_chunks_are_joined_and_trailers_passed_over() -> None:
    first, second = outcomes([STREAMS[1]])
    assert isinstance(first, tuple)
    assert isinstance(second, tuple)
    assert first[3] == b"abcde"
    assert second[1] == b"/"
    assert second[4] is False, "HTTP/1.0 closes unless it asks to keep"


@pytest.mark.parametrize("stream", [STREAMS[2], STREAMS[3]])
def test_a_body_over_the_limit_is_refused_and_the_next_request_still_read(stream: bytes) -> None:
    first, second = outcomes([stream])
    assert isinstance(first, tuple)
    assert isinstance(second, tuple)
    assert (first[3], first[5]) == (b"", 413)
    assert second[1] == b"/after"


@pytest.mark.parametrize(
    ("head", "before", "piece", "end"),
    [
        (b"Content-Length: %d" % (150 << 20), b"", b"z" * (1 << 20), b""),
        (b"Transfer-Encoding: chunked", b"", b"100000\r\n%b\r\n" % (b"z" * (1 << 20)), b"0\r\n\r\n"),
        (b"Transfer-Encoding: chunked", b"%x\r\n" % (150 << 20), b"z" * (1 << 20), b"\r\n0\r\n\r\n"),
    ],
)
def test_of_a_body_over_the_limit_nothing_is_kept_however_long_it_is(
    head: bytes, before: bytes, piece: bytes, end: bytes
) -> None:
    parser = Parser(64)
    parser.feed(HEAD + head + b"\r\n\r\n" + before)
    for _ in range(150):
        parser.feed(piece)
        assert parser.next_request() is None or end == b""
        assert parser.buffered + len(parser._chunked) < 64
        assert parser.refusal is None or parser.refusal.status == 413
    parser.feed(end + HEAD + b"\r\n")
    requests = list(iter(parser.next_request, None))
    assert requests[-1].refusal is None
    assert parser.refusal is None
    assert len(requests) == 2 or end == b""


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"Content-Length: 5\r\nContent-Length: 5\r\n", 400),
        (b"Content-Length: 5, 5\r\n", 400),
        (b"Content-Length: +5\r\n", 400),
        (b"Content-Length: -1\r\n", 400),
        (b"Content-Length: 0x5\r\n", 400),
        (b"Content-Length: 1_0\r\n", 400),
        (b"Content-Length: \r\n", 400),
        (b"Content-Length : 5\r\n", 400),
        (b"Transfer-Encoding: gzip, chunked\r\n", 501),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"Host: other\r\n", 400),
        (b"X: a\r\n folded\r\n", 400),
        (b"X: a\x00b\r\n", 400),
        (b"no colon\r\n", 400),
        (b"Expect: something\r\nContent-Length: 3\r\n", 417),
        (b"X: y\r\n" * 101, 431),
    ],
)
def test_a_head_that_two_parsers_could_read_differently_is_refused(head: bytes, status: int) -> None:
    (outcome,) = outcomes([HEAD + head + b"\r\n"], most_head=4096)
    assert isinstance(outcome, tuple)
    assert outcome[0] == status


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET / HTTP/2.0", 505),
        (b"GET /", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b"G\xc3\xa9T / HTTP/1.1", 400),
        (b"GET /\x7f HTTP/1.1", 400),
    ],
)
def test_a_request_line_that_is_none_is_refused(line: bytes, status: int) -> None:
    outcome = only(line + b"\r\nHost: x\r\n\r\n")
    assert isinstance(outcome, tuple)
    assert outcome[0] == status


def test_a_request_without_host_is_refused_in_http_1_1_only() -> None:
    refused, kept = only(b"GET / HTTP/1.1\r\n\r\n"), only(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert isinstance(refused, tuple)
    assert isinstance(kept, tuple)
    assert refused[0] == 400
    assert kept[4] is True


def test_continue_is_wanted_once_and_only_while_the_body_is_missing() -> None:
    parser = Parser(64)
    parser.feed(HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert parser.next_request() is None
    assert parser.take_expectation() is True
    assert parser.take_expectation() is False
    parser.feed(b"ok" + HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nok")
    assert parser.next_request() is not None
    assert parser.next_request() is not None
    assert parser.take_expectation() is False


def test_an_expectation_of_a_body_that_is_too_large_is_refused_before_it_is_sent() -> None:
    (outcome,) = outcomes([HEAD + b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n"])
    assert isinstance(outcome, tuple)
    assert outcome[0] == 413


USUAL = (
    b"POST /p HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nx-request-id: %b\r\n"
    b"x-serinus-start: 1.5\r\ncontent-length: %d\r\n\r\n%b"
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_head_like_one_before_is_read_as_if_it_had_come_in_pieces(data: st.DataObject) -> None:
    outcomes([USUAL % (b"id", 2, b"{}")])
    changed = bytearray(USUAL % (data.draw(st.binary(max_size=5)), data.draw(st.integers(0, 9)), b"{}1234"))
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from([b"", b"\r", b"\n", b"\r\n", b" ", b":", b"a", b"1", b"\x00", b"\x7f", b"\xe9"])
        )
    stream = bytes(changed)
    assert outcomes([stream]) == outcomes([stream[i : i + 1] for i in range(len(stream))])


def test_a_head_like_one_before_is_still_bounded() -> None:
    outcomes([USUAL % (b"id", 2, b"{}")])
    (outcome,) = outcomes([USUAL % (b"i" * 600, 2, b"{}")], most_head=512)
    assert isinstance(outcome, tuple)
    assert outcome[0] == 431


def test_what_differs_from_request_to_request_is_not_kept() -> None:
    head = b"POST /p HTTP/1.1\r\nhost: x\r\nauthorization: Bearer one\r\nx-entity-id: card-1"
    heads = Heads()
    lines = head.split(b"\r\n")[1:]
    names = [line.split(b":")[0] for line in lines]
    headers = dict(line.split(b": ") for line in lines)
    heads.learn(head, lines, names, Head(b"POST", b"/p", headers, 0))
    assert b"one" not in repr(heads._patterns).encode()
    found = heads.find(head.replace(b"one", b"two") + b"\r\n\r\nbody")
    assert found is not None
    assert (found.headers[b"authorization"], found.end) == (b"Bearer two", len(head) + 4)


def test_callers_that_are_no_more_make_room_for_others() -> None:
    heads = Heads()
    for i in range(2000):
        head = b"GET /%d HTTP/1.1\r\nhost: x" % i
        if heads.find(head + b"\r\n\r\n") is None:
            heads.learn(head, [b"host: x"], [b"host"], Head(b"GET", b"/%d" % i, {b"host": b"x"}, len(head) + 4))
        assert len(heads._patterns) <= 8
    assert heads._patterns[0].target != b"/0"
