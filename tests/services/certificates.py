"""Certificates for one test, made with openssl: an authority, a server that is `localhost` and nothing else, clients."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.services.missing import ServiceMissing


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as files in PEM."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority in a folder of its own."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        if shutil.which("openssl") is None:
            raise ServiceMissing("the tests of TLS need openssl (apt-get install openssl)")
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.own = Pair(folder / f"{name}.crt", folder / f"{name}.key")
        self._openssl(
            *("req", "-x509", "-subj", f"/CN={name}", "-days", "2", *_new_key(self.own.key)),
            *("-addext", "basicConstraints=critical,CA:TRUE", "-out", str(self.own.certificate)),
        )

    def issue(self, name: str, *, server: bool = False) -> Pair:
        """A certificate for this common name; a server's is for the host of that name."""
        pair = Pair(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        extensions.write_text(
            f"subjectAltName=DNS:{name}\nextendedKeyUsage=serverAuth\n" if server else "extendedKeyUsage=clientAuth\n"
        )
        self._openssl("req", "-new", "-subj", f"/CN={name}", *_new_key(pair.key), "-out", str(request))
        self._openssl(
            *("x509", "-req", "-in", str(request), "-days", "2", "-CAcreateserial", "-extfile", str(extensions)),
            *("-CA", str(self.own.certificate), "-CAkey", str(self.own.key), "-out", str(pair.certificate)),
        )
        pair.key.chmod(0o600)
        return pair

    @staticmethod
    def _openssl(*arguments: str) -> None:
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def _new_key(path: Path) -> tuple[str, ...]:
    return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(path)
