"""A configuration for nginx as a peer: one worker, sendfile, nothing written but its pid file.

It runs from a folder of its own, without the system's configuration, as whoever runs the benchmarks.
"""

import os
from pathlib import Path

TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def write_configuration(folder: Path, root: Path, listen: str, *directives: str) -> Path:
    """Write ``nginx.conf`` into *folder*: serve *root* on *listen*, with further *directives* of the http block."""
    temporary = "\n  ".join(f"{name}_temp_path {folder}/{name};" for name in TEMPORARY)
    further = "\n  ".join(directives)
    path = folder / "nginx.conf"
    path.write_text(f"""\
{_user()}daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/pid;
error_log {folder}/error.log crit;
events {{ worker_connections 8192; }}
http {{
  {temporary}
  {further}
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  default_type application/octet-stream;
  server {{
    listen {listen};
    root {root};
  }}
}}
""")
    return path


def _user() -> str:
    # Started by root, nginx would become "nobody", who may not read a folder that only its owner may.
    return "user root;\n" if os.geteuid() == 0 else ""
