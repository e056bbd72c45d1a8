# SPDX-License-Identifier: Apache-2.0
"""What people run in sandboxes works under the default filter, with what a sandbox has by default and
nothing else: compilers and languages, a browser, the build of a package of Debian's and its
installation. Long, and on demand (ISOLATE_LONG=1): the template is a root of more than a gigabyte,
made once by mmdebstrap."""

import os

import pytest

from roots import cached_root
from sandboxes import ENGINE

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(ENGINE != "native", reason="the filter is the same one on every engine"),
]

PACKAGES = """build-essential clang gdb python3-venv python3-pip nodejs default-jdk-headless golang-go rustc cargo
chromium debhelper fakeroot lintian bubblewrap uidmap buildah podman crun
busybox-static""".split()
MINUTES = 15 * 60

SCRIPTS = {
    "gcc": r"""
cat > prime.c <<'EOF'
#include <pthread.h>
#include <stdio.h>
#include <sys/shm.h>
static void *count(void *data) { *(int *)data = 1; return data; }
int main(void)
{
    pthread_t thread; int done = 0;
    int sum = 0, id = shmget(IPC_PRIVATE, 4096, 0600);
#pragma omp parallel for reduction(+ : sum)
    for (int i = 0; i < 1000; i++) sum += i;
    if (id < 0 || shmctl(id, IPC_RMID, 0) < 0) return 1;
    if (pthread_create(&thread, 0, count, &done) || pthread_join(thread, 0)) return 2;
    return printf("%d %d\n", sum, done) < 0;
}
EOF
printf 'prime: prime.o\n\t$(CC) -fopenmp -o $@ $^\nprime.o: prime.c\n\t$(CC) -O2 -flto -fopenmp -c $<\n' > Makefile
make -j4 >&2
./prime | grep -x '499500 1'
gcc -g -O0 -fopenmp -o debugged prime.c
gdb -batch -ex 'break count' -ex run -ex bt ./debugged | grep 'count (data='
cat > leak.c <<'EOF'
#include <stdlib.h>
int main(void) { char *volatile lost = malloc(4); lost = 0; return lost != 0; }
EOF
gcc -g -fsanitize=address,undefined -o leak leak.c
./leak 2> err && exit 1
grep 'detected memory leaks' err
""",
    "clang": r"""
cat > all.cc <<'EOF'
#include <iostream>
#include <thread>
#include <vector>
int main(int argc, char **)
{
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++) threads.emplace_back([] { std::vector<int> v(100000, 1); });
    for (auto &thread : threads) thread.join();
    std::cout << threads.size() << std::endl;
    return 0;
}
EOF
clang++ -O2 -std=c++20 -Wall -o all all.cc
./all | grep -x 4
clang++ -O2 -flto=thin -c -o all.o all.cc
""",
    "python": r"""
python3 -m venv --system-site-packages env
mkdir -p pack/thing
printf '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n[project]\nname = "thing"\nversion = "1"\n[tool.setuptools]\npackages = ["thing"]\n' > pack/pyproject.toml
cat > pack/thing/__init__.py <<'EOF'
import asyncio, concurrent.futures, multiprocessing, socket, tempfile, threading
def square(x):
    return x * x
async def echo(reader, writer):
    writer.write(await reader.readline()); await writer.drain(); writer.close()
async def talk():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hello\n")
    process = await asyncio.create_subprocess_exec("cat", "/etc/hostname", stdout=asyncio.subprocess.PIPE)
    await process.communicate()
    return await reader.readline()
def main():
    with multiprocessing.Pool(4) as pool:
        assert pool.map(square, range(10))[9] == 81
    with multiprocessing.Manager() as manager:
        shared = manager.list([1, 2]); shared.append(3); assert len(shared) == 3
    assert asyncio.run(talk()) == b"hello\n"
    socket.getaddrinfo("localhost", 80)
    print("all")
EOF
env/bin/python -m pip --version
env/bin/pip install --no-index --no-build-isolation ./pack >&2
env/bin/python -c 'import thing; thing.main()' | grep -x all
""",
    "node": r"""
cat > all.js <<'EOF'
const { Worker, isMainThread, parentPort } = require("worker_threads");
const { execFileSync } = require("child_process");
const net = require("net"), fs = require("fs"), crypto = require("crypto");
if (!isMainThread) { parentPort.postMessage("worker"); return; }
const server = net.createServer(socket => socket.pipe(socket)).listen(0, "127.0.0.1", () => {
  const client = net.connect(server.address().port, "127.0.0.1", () => client.end("net"));
  client.on("data", data => {
    server.close();
    new Worker(__filename).on("message", word => fs.promises.readFile("/etc/passwd").then(() =>
      crypto.scrypt("a", "b", 32, () => console.log(data.toString(), word, execFileSync("echo", ["child"]).toString().trim()))));
  });
});
EOF
node all.js | grep -x 'net worker child'
node --jitless all.js | grep -x 'net worker child'
""",
    "java": r"""
mkdir -p src/a
cat > src/a/Main.java <<'EOF'
package a;
import java.net.*;
import java.nio.file.*;
import java.util.stream.*;
public class Main {
    public static void main(String[] args) throws Exception {
        long sum = LongStream.range(0, 100000).parallel().sum();
        try (ServerSocket server = new ServerSocket(0); Socket socket = new Socket("127.0.0.1", server.getLocalPort())) {
            Process process = new ProcessBuilder("true").start();
            System.out.println(sum + " " + process.waitFor() + " " + Files.isDirectory(Path.of("/tmp")));
        }
        System.gc();
    }
}
EOF
javac -d out src/a/Main.java
jar --create --file a.jar --main-class a.Main -C out .
for gc in Serial Parallel G1; do java -XX:+Use${gc}GC -jar a.jar | grep -x '4999950000 0 true'; done
""",
    "go": r"""
export HOME=$PWD GOFLAGS=-mod=mod GOPROXY=off
mkdir m; cd m
cat > go.mod <<'EOF'
module example.org/m
go 1.19
EOF
cat > main.go <<'EOF'
package main

// int three(void) { return 3; }
import "C"
import ("fmt"; "net"; "os/exec"; "sync")

func main() {
	var group sync.WaitGroup
	for i := 0; i < 100; i++ {
		group.Add(1)
		go func() { defer group.Done() }()
	}
	group.Wait()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil { panic(err) }
	go func() { c, _ := listener.Accept(); c.Write([]byte("net")); c.Close() }()
	c, err := net.Dial("tcp", listener.Addr().String())
	if err != nil { panic(err) }
	word := make([]byte, 3)
	c.Read(word)
	out, err := exec.Command("echo", "-n", "child").Output()
	if err != nil { panic(err) }
	fmt.Println(string(word), string(out), C.three())
}
EOF
printf 'package main\nimport "testing"\nfunc TestOne(t *testing.T) {}\n' > main_test.go
go build -o all . && ./all | grep -x 'net child 3'
CGO_ENABLED=1 go test -race ./... | grep ok
""",
    "rust": r"""
export CARGO_HOME=$PWD/cargo USER=root
cargo new --vcs none one >&2; cd one
cat > src/main.rs <<'EOF'
use std::{net, process, sync::mpsc, thread};
fn main() {
    let (sender, receiver) = mpsc::channel();
    for i in 0..8 { let sender = sender.clone(); thread::spawn(move || sender.send(i).unwrap()); }
    drop(sender);
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let _ = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let status = process::Command::new("true").status().unwrap();
    println!("{} {}", receiver.iter().sum::<i32>(), status.success());
}
#[test] fn one() { assert_eq!(1, 1); }
EOF
cargo build --offline --release >&2
./target/release/one | grep -x '28 true'
cargo test --offline 2>&1 | grep '1 passed'
""",
    "chromium": r"""
cat > page.html <<'EOF'
<body><p id=p>no</p><canvas id=c></canvas><script>
const worker = new Worker(URL.createObjectURL(new Blob(["postMessage(6*7)"])));
worker.onmessage = e => { document.getElementById("p").textContent = "script " + e.data; };
</script></body>
EOF
export HOME=$PWD
chromium --headless --no-sandbox --disable-gpu --virtual-time-budget=20000 --dump-dom "file://$PWD/page.html" 2>err | grep 'script 42' || { cat err; exit 1; }
chromium --headless --no-sandbox --disable-gpu --screenshot=$PWD/page.png "file://$PWD/page.html" 2>err
test "$(head -c 4 page.png | tail -c 3)" = PNG
""",
    "debian package": r"""
mkdir -p thing-1.0/debian/source; cd thing-1.0
printf '3.0 (native)\n' > debian/source/format
printf 'thing (1.0) unstable; urgency=low\n\n  * One.\n\n -- Some One <one@example.org>  Thu, 01 Jan 2026 00:00:00 +0000\n' > debian/changelog
printf 'Source: thing\nSection: misc\nPriority: optional\nMaintainer: Some One <one@example.org>\nBuild-Depends: debhelper-compat (= 13)\nStandards-Version: 4.6.2\nRules-Requires-Root: binary-targets\n\nPackage: thing\nArchitecture: any\nDepends: ${shlibs:Depends}, ${misc:Depends}\nDescription: a thing\n That is one.\n' > debian/control
printf '#!/usr/bin/make -f\n%%:\n\tdh $@\n' > debian/rules
chmod +x debian/rules
printf 'int main(void) { return 0; }\n' > thing.c
printf 'all: thing\ninstall: thing\n\tinstall -D -o games -g games -m 755 thing $(DESTDIR)/usr/bin/thing\n' > Makefile
printf '#!/bin/sh\nset -e\nadduser --system --quiet thing 2>/dev/null || useradd --system thing\n#DEBHELPER#\n' > debian/postinst
dpkg-buildpackage -rfakeroot -us -uc >&2
cd ..
dpkg-deb -c thing_1.0_*.deb | grep -- '-rwxr-xr-x root/root.*usr/bin/thing'
lintian --allow-root thing_1.0_*.deb >&2 || test $? -le 2
apt-get install -y ./thing_1.0_*.deb >&2
thing
id thing
apt-get purge -y thing >&2
test ! -e /usr/bin/thing
""",
}

NETWORK_SCRIPT = r"""
apt-get update >&2
apt-get install -y --no-install-recommends jq at postgresql-common >&2
echo '{"a": 1}' | jq .a | grep -x 1
apt-get purge -y jq >&2
"""


@pytest.fixture(scope="module")
def builds(instance):
    tar = cached_root("builds", "--include=" + ",".join(PACKAGES))
    instance.ok("template", "create", "builds", "--from", f"tar:{tar}", timeout=MINUTES)
    yield "builds"
    instance.ok("template", "rm", "builds", timeout=MINUTES)


def build(instance, template, script, *options):
    return instance.run((*options, "-w", "/var/tmp"), ("bash", "-euo", "pipefail", "-c", script), template=template,
                        timeout=MINUTES)


@pytest.mark.parametrize("what", SCRIPTS)
def test_default(instance, builds, what):
    done = build(instance, builds, SCRIPTS[what])
    assert done.returncode == 0, (what, done.stdout[-2000:], done.stderr[-4000:])


def test_apt_with_network(instance, builds):
    if "ISOLATE_TEST_NETWORK" not in os.environ:
        pytest.skip("needs the machine's mirror of Debian: set ISOLATE_TEST_NETWORK=1")
    done = build(instance, builds, NETWORK_SCRIPT, "--network", "host")
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-4000:])


NESTED_SCRIPTS = {
    "bubblewrap": r"""
bwrap --unshare-all --ro-bind / / --proc /proc --dev /dev --tmpfs /tmp sh -c 'ls /proc | grep -c "^[0-9]*$"; id -u' | tr '\n' ' ' | grep -E "^[234] $(id -u) $"
bwrap --unshare-user --uid 7 --bind / / id -u | grep -x 7
""",
    "buildah": r"""
alias buildah='buildah --storage-driver vfs'
shopt -s expand_aliases
container=$(buildah from scratch)
buildah copy $container /usr/bin/busybox /bin/sh
buildah run --isolation chroot $container /bin/sh -c 'echo "ran as $(id -u)" > /word'
buildah commit $container made
cat $(buildah mount $(buildah from made))/word | grep -x 'ran as 0'
""",
    # as isolate(1) says it; what it makes is in the user namespace of podman's own
    "podman": r"""
printf '[containers]\nkeyring=false\ndefault_sysctls=[]\n[engine]\ncgroup_manager="cgroupfs"\n' > /etc/containers/containers.conf
printf '[storage]\ndriver="vfs"\nrunroot="/run/containers"\ngraphroot="/var/lib/containers"\n' > /etc/containers/storage.conf
mkdir -p root/etc root/proc root/dev root/sys root/run root/tmp
cp /usr/bin/busybox root/sh
tar -C root -c . | podman import - one
mkdir bound
run='podman run --rm --network none --cgroups disabled'
podman unshare unshare -C -m sh -c "mount -t cgroup2 none /sys/fs/cgroup
$run -v $PWD/bound:/bound one /sh -c 'echo ran as pid \$\$ > /bound/word; exit 7'" || test $? = 7
grep -x 'ran as pid 1' bound/word
""",
    "chromium with its own sandbox": SCRIPTS["chromium"].replace("--no-sandbox ", ""),
    "debian package": SCRIPTS["debian package"],
}


@pytest.mark.parametrize("what", NESTED_SCRIPTS)
def test_nested(instance, builds, what):
    """Browsers refuse to run as root with their own sandbox."""
    user = ("-u", "games") if "chromium" in what else ()
    script = "cd $(mktemp -d)\n" + NESTED_SCRIPTS[what]
    done = build(instance, builds, script, "--seccomp", "nested", *user)
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-4000:])


def test_buildah_needs_nested(instance, builds):
    """Control."""
    assert build(instance, builds, "cd $(mktemp -d)\n" + NESTED_SCRIPTS["buildah"]).returncode != 0


def test_browser_s_sandbox_needs_nested(instance, builds):
    """Control."""
    script = NESTED_SCRIPTS["chromium with its own sandbox"]
    assert build(instance, builds, "cd $(mktemp -d)\n" + script, "-u", "games").returncode != 0


@pytest.mark.parametrize("what", ["gcc", "python", "rust"])
def test_strict_is_less(instance, builds, what):
    """Control: the same scripts end where they use what strict has not."""
    assert build(instance, builds, SCRIPTS[what], "--seccomp", "strict").returncode != 0
