# SPDX-License-Identifier: Apache-2.0
"""A registry on loopback (Debian's docker-registry), and one in front of it that stops half-way."""

import re
import shutil
import socket
import subprocess
import threading
import time

import pytest


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def answers(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


class Registry:
    """`password`, of the user anne, as such and as bcrypt has it: without it it serves nobody."""

    def __init__(self, path, password=None):
        if not shutil.which("docker-registry") or not shutil.which("skopeo"):
            pytest.skip("docker-registry or skopeo is not installed")
        path.mkdir()
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.password = password
        auth = ""
        if password:
            (path / "users").write_text(f"anne:{password[1]}\n")
            auth = f"auth: {{htpasswd: {{realm: here, path: {path}/users}}}}\n"
        (path / "config.yml").write_text(
            f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {path}/data}}}}\n"
            f"http: {{addr: '{self.host}'}}\n{auth}")
        with open(path / "log", "wb") as log:
            self.process = subprocess.Popen(["docker-registry", "serve", path / "config.yml"], stdout=log, stderr=log)
        end = time.monotonic() + 20
        while not answers(self.port):
            assert self.process.poll() is None and time.monotonic() < end, (path / "log").read_text()
            time.sleep(0.05)

    def push(self, source, name):
        login = [f"--dest-creds=anne:{self.password[0]}"] if self.password else []
        subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", *login, source,
                        f"docker://{self.host}/{name}"], check=True)

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=20)


class Cut:
    """Passes on what a registry says, of one blob only half a MiB, and notes which were asked for."""

    def __init__(self, port):
        self.to = port
        self.of = None  # the digest of that blob
        self.blobs = []  # (digest, whole)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        """One request of a connection, which then ends: skopeo makes another."""
        with client, socket.create_connection(("127.0.0.1", self.to)) as server:
            request = b""
            while b"\r\n\r\n" not in request:
                more = client.recv(65536)
                if not more:
                    return
                request += more
            server.sendall(re.sub(rb"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", request, count=1))
            blob = re.match(rb"GET \S+/blobs/(sha256:\w+)", request)
            sent = 0
            while more := server.recv(65536):
                if blob and blob[1].decode() == self.of and sent > 1 << 19:
                    time.sleep(2)  # in which the others come through
                    self.blobs.append((blob[1].decode(), False))
                    return
                client.sendall(more)
                sent += len(more)
            if blob:
                self.blobs.append((blob[1].decode(), True))

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
