"""The client for TLS: a true hand-shake and request, and then content that is discarded as it is, still enciphered.

So the client costs what it costs without TLS, and the deciphering, which is not the server's, is left out. The client
leaves when as many bytes have arrived as were asked for: all but the last two in a thousand, which is what the records
add (RFC 8446 §5.2). It cannot wait for the end, because it does not understand the server's close_notify.
"""

import socket
import ssl
import time

from benchmarks.client import MIB, Address, Exchanged, WrongAnswer, request

_scratch = bytearray(MIB)


def download(address: Address, target: str, span: tuple[int, int]) -> Exchanged:
    """Take the *span* of *target* over one connection."""
    begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
    content = span[1] - span[0]
    with socket.create_connection(address) as sock:
        sock.sendall(_shake_hands(sock, request(target, span)))
        _discard(sock, content)
    elapsed_s, cpu_s = time.perf_counter() - begin_s, time.process_time() - begin_cpu_s
    return Exchanged(1, content, elapsed_s, cpu_s)


def _shake_hands(sock: socket.socket, request_head: bytes) -> bytes:
    """Return *request_head* enciphered, with what else is to be sent before it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    while True:
        try:
            session.do_handshake()
            break
        except ssl.SSLWantReadError:
            sock.sendall(outgoing.read())
            incoming.write(sock.recv(MIB))
    session.write(request_head)
    return outgoing.read()


def _discard(sock: socket.socket, count: int) -> None:
    while count > 0:
        taken = sock.recv_into(_scratch, MIB, socket.MSG_TRUNC)
        if not taken:
            raise WrongAnswer(f"{count} bytes before the end")
        count -= taken
