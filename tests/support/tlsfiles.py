"""The files by which a gateway and its broker trust each other, to be spoilt and mended."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from support.authority import Authority
from support.ports import free_port
from support.skips import need_debian

HOST = "127.0.0.1"
PLATFORM = ("platform", "pl4tform")
GATEWAY = ("gateway", "s3cret")


class Files:
    """The files of both ends. Each method makes one of them wrong, or right again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = Authority(folder)
        self._stranger = Authority(folder, "stranger")
        self.ca = folder / "believed.pem"
        self.password = folder / "password"
        self.port = free_port()
        self.believe(self._authority)
        self.certify_broker()
        self.certify_gateway()
        self.say(GATEWAY[1])
        known = folder / "passwords"
        program = need_debian("mosquitto", "mosquitto_passwd")
        known.touch(0o600)
        for name, password in (PLATFORM, GATEWAY):
            subprocess.run([program, "-b", str(known), name, password], check=True, timeout=30)
        self.broker_lines = f"""
password_file {known}
listener {self.port} {HOST}
cafile {self._authority.certificate}
certfile {folder / "broker.pem"}
keyfile {folder / "broker.key"}
require_certificate true
"""

    def settings(self) -> dict[str, object]:
        """The section [mqtt]."""
        return {
            "tls": True,
            "ca_file": self.ca,
            "cert_file": self._folder / "gateway.pem",
            "key_file": self._folder / "gateway.key",
            "username": GATEWAY[0],
            "password_file": self.password,
        }

    def believe(self, authority: Authority) -> None:
        shutil.copy(authority.certificate, self.ca)

    def believe_a_stranger(self) -> None:
        self.believe(self._stranger)

    def believe_the_right_one(self) -> None:
        self.believe(self._authority)

    def certify_broker(self, host: str = HOST, days: int = 30) -> None:
        self._authority.issue("broker", host, days)

    def certify_gateway(self, days: int = 30) -> None:
        _certificate, key = self._authority.issue("gateway", days=days)
        key.chmod(0o600)

    def certify_gateway_by_a_stranger(self) -> None:
        _certificate, key = self._stranger.issue("gateway")
        key.chmod(0o600)

    def say(self, password: str) -> None:
        self.password.write_text(f"{password}\n")
        self.password.chmod(0o600)
