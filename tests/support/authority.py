"""A certificate authority for tests, made with the openssl command."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support.skips import need_debian


class Authority:
    """An authority of its own, valid for some days.

    Args:
        folder: Where its files go.
        name: Told apart by it, in files and certificates.
    """

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._openssl = need_debian("openssl")
        self._folder = folder
        self._name = name
        self.certificate = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        self._call(
            "req", "-x509", *self._new_key(self._key), "-days", "30",
            "-subj", f"/CN={name}", "-out", str(self.certificate),
            "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )  # fmt: skip

    def issue(self, name: str, host: str = "", days: int = 30) -> tuple[Path, Path]:
        """A certificate and its key, for an IP address or DNS name if `host` is given.

        With 0 `days` it has expired. The same name again replaces the files.
        """
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        request, extra = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        kind = "IP" if host.replace(".", "").isdigit() else "DNS"
        alternative = f"subjectAltName={kind}:{host}\n" if host else ""
        extra.write_text(f"basicConstraints=CA:FALSE\n{alternative}")
        self._call("req", *self._new_key(key), "-subj", f"/CN={name}", "-out", str(request))
        self._call(
            "x509", "-req", "-in", str(request), "-CA", str(self.certificate),
            "-CAkey", str(self._key), "-CAcreateserial", "-days", str(days),
            "-extfile", str(extra), "-out", str(certificate),
        )  # fmt: skip
        return certificate, key

    @staticmethod
    def _new_key(path: Path) -> list[str]:
        curve = "ec_paramgen_curve:prime256v1"
        return ["-newkey", "ec", "-pkeyopt", curve, "-nodes", "-keyout", str(path)]

    def _call(self, *arguments: str) -> None:
        subprocess.run([self._openssl, *arguments], check=True, capture_output=True, timeout=30)
