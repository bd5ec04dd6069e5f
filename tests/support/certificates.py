"""A certificate for the loopback interface, made on the spot."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """Where a self-signed certificate and its key are; the certificate is also what a client has to trust."""

    certificate: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        """Return a context for a server that shows this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return a context for a client that trusts this certificate and nothing else."""
        return ssl.create_default_context(cafile=str(self.certificate))


def can_make_certificates() -> bool:
    """Whether the ``openssl`` program is there."""
    return shutil.which("openssl") is not None


def make_certificate(folder: Path) -> Certificate:
    """Make a certificate for ``127.0.0.1`` and ``localhost`` that is valid for two days."""
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += [
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=IP:127.0.0.1,DNS:localhost",
    ]
    command += ["-keyout", str(made.key), "-out", str(made.certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return made
