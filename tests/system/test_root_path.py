"""The site beneath a prefix, behind a proxy that takes the prefix away before it passes a request on."""

import html
import http.client
import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.tools import serving

pytestmark = pytest.mark.system

TIMEOUT_S = 30


class _Stripping(http.server.BaseHTTPRequestHandler):
    """A proxy that publishes a server beneath /files and takes this prefix away before it passes a request on."""

    server: "_StrippingServer"

    def do_GET(self) -> None:
        connection = http.client.HTTPConnection(self.server.upstream, timeout=TIMEOUT_S)
        try:
            connection.request("GET", self.path.removeprefix("/files"))
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


class _StrippingServer(http.server.ThreadingHTTPServer):
    daemon_threads = False
    upstream = ""


@contextmanager
def stripping_proxy(upstream: str) -> Iterator[str]:
    """Publish the server *upstream* (host and port) beneath the URL that is returned."""
    with _StrippingServer(("127.0.0.1", 0), _Stripping) as proxy:
        proxy.upstream = upstream
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{proxy.server_address[1]}"
        finally:
            proxy.shutdown()
            thread.join()


@pytest.mark.parametrize("page", ["/files/", "/files/browse/sub/"])
def test_every_link_of_a_page_works_behind_a_proxy_that_takes_the_prefix_away(page: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a file.txt").write_text("text")
    with (
        serving(tmp_path, "--root-path", "/files") as server,
        stripping_proxy(server.url.removeprefix("http://").removesuffix("/files")) as proxy,
    ):
        with urlopen(proxy + page) as answer:
            links = {html.unescape(link) for link in re.findall(r'href="([^"]+)"', answer.read().decode())}
        assert len(links) > 3
        for link in links:
            assert link.startswith("/files/")
            with urlopen(proxy + link) as answer:
                assert answer.status == 200
