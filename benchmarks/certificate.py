"""A certificate for TLS on loopback, made by ``openssl`` and trusted by nobody.

Both TLS peers get one of the same kind. Its key is short, because the hand-shake is not what is measured: a GiB of
content stands behind each. Left out: a chain, renewal, and names beyond localhost.
"""

import shutil
import subprocess
from pathlib import Path


def lacks() -> str | None:
    """Return why no certificate can be made, or ``None``."""
    return None if shutil.which("openssl") else "openssl is not installed"


def make(folder: Path) -> tuple[Path, Path]:
    """Write a self-signed certificate and its key into *folder*, and return their paths.

    An elliptic curve key, so that the hand-shake is short beside the content.
    """
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost", "-days", "2"]
    subprocess.run([*command, *names], check=True, capture_output=True)
    return certificate, key
