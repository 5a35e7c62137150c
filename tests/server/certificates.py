"""A certificate for tests."""

import subprocess
from pathlib import Path

from tests.tools import tool


def certificate(folder: Path) -> Path:
    """Make a self-signed certificate for 127.0.0.1, with its key in the same file."""
    pem, chain = folder / "certificate.pem", folder / "chain.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    make = [tool("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject]
    subprocess.run([*make, "-keyout", pem, "-out", chain], check=True, capture_output=True)
    pem.write_bytes(pem.read_bytes() + chain.read_bytes())
    return pem
